// Calls RPCs of this origin: the Connect protocol, in protobuf JSON.

const MAX_ENVELOPE_BYTES = 4 * 1024 * 1024;
const END_OF_STREAM = 2;
const CODE_OF_STATUS = {400: 'internal', 401: 'unauthenticated', 403: 'permission_denied', 404: 'unimplemented'};

/** Why a call failed: a code of the Connect protocol, and words for people. */
export class CallError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{type: string, debug?: any}[]} [details]
   */
  constructor(code, message, details = []) {
    super(message);
    this.code = code;
    this.details = details;
  }

  /** Signing in again may help. */
  get refused() {
    return this.code === 'unauthenticated' || this.code === 'permission_denied';
  }
}

/** @param {any} error */
function unreachable(error) {
  if (error instanceof CallError) return error;
  if (error?.name === 'AbortError') return new CallError('canceled', 'stopped');
  if (error?.name === 'TimeoutError') return new CallError('deadline_exceeded', 'the server took too long to answer');
  return new CallError('unavailable', 'the server can’t be reached');
}

/** @param {Response} response */
async function errorOf(response) {
  const code = CODE_OF_STATUS[response.status] ?? 'unavailable';
  try {
    const body = await response.json();
    return new CallError(String(body.code ?? code).toLowerCase(), body.message || `HTTP ${response.status}`, body.details);
  } catch {
    return new CallError(code, `HTTP ${response.status}`);
  }
}

/**
 * @param {string} method as in AdminService/ListQueues
 * @param {string} type
 * @param {BodyInit} body
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 */
async function post(method, type, body, headers, signal) {
  const response = await fetch(`/carillon.v1.${method}`, {
    method: 'POST', body, signal, cache: 'no-store', credentials: 'omit',
    headers: {...headers, 'content-type': type, 'connect-protocol-version': '1'},
  });
  if (!response.ok) throw await errorOf(response);
  return response;
}

/**
 * A call with one answer.
 * @param {string} method
 * @param {object} request
 * @param {Record<string, string>} headers
 * @returns {Promise<any>}
 */
export async function call(method, request, headers, milliseconds = 10_000) {
  try {
    const timed = {...headers, 'connect-timeout-ms': String(milliseconds)};
    const signal = AbortSignal.timeout(milliseconds);
    return await (await post(method, 'application/json', JSON.stringify(request), timed, signal)).json();
  } catch (error) {
    throw unreachable(error);
  }
}

/** @param {object} message */
function envelope(message) {
  const bytes = new TextEncoder().encode(JSON.stringify(message));
  const framed = new Uint8Array(5 + bytes.length);
  new DataView(framed.buffer).setUint32(1, bytes.length);
  framed.set(bytes, 5);
  return framed;
}

/** @param {ReadableStream<Uint8Array>} body */
async function* envelopes(body) {
  const reader = body.getReader();
  let held = new Uint8Array(0);
  try {
    for (;;) {
      while (held.length >= 5) {
        const size = new DataView(held.buffer, held.byteOffset).getUint32(1);
        if (size > MAX_ENVELOPE_BYTES) throw new CallError('internal', 'an answer is too long');
        if (held.length < 5 + size) break;
        yield {flags: held[0], message: JSON.parse(new TextDecoder().decode(held.subarray(5, 5 + size)) || '{}')};
        held = held.subarray(5 + size);
      }
      const {value, done} = await reader.read();
      if (done) return;
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * A call with many answers. Ends early, with an error, if the connection does.
 * @param {string} method
 * @param {object} request
 * @param {Record<string, string>} headers
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export async function* stream(method, request, headers, signal) {
  try {
    const response = await post(method, 'application/connect+json', envelope(request), headers, signal);
    for await (const {flags, message} of envelopes(/** @type {ReadableStream<Uint8Array>} */ (response.body))) {
      if (!(flags & END_OF_STREAM)) {
        yield message;
        continue;
      }
      if (message.error) throw new CallError(message.error.code, message.error.message ?? '', message.error.details);
      return;
    }
  } catch (error) {
    throw unreachable(error);
  }
  throw new CallError('unavailable', 'the connection ended before the answer did');
}
