// One HTTP request, with a limit of time. (fetch of Node 18 warns that it is experimental.)

import http from 'node:http';
import https from 'node:https';

// Resolves to {status, body}.
export function request(url, { method = 'GET', headers = {}, body, agent, milliseconds = 10_000 } = {}) {
  return new Promise((resolve, reject) => {
    const { request: start } = new URL(url).protocol === 'https:' ? https : http;
    const lengths = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const sent = start(
      url,
      { method, agent, headers: { ...headers, ...lengths }, timeout: milliseconds },
      (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
        response.on('error', reject);
      },
    );
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${milliseconds} ms`)));
    sent.on('error', reject);
    sent.end(body);
  });
}
