// A server on a port of loopback that can be closed and opened again.

const REOPEN_MILLISECONDS = 50;

export class Listener {
  #server;
  #disconnectAll;
  #port;
  #open = true;

  // `disconnectAll()` ends the connections that are open.
  constructor(server, disconnectAll) {
    this.#server = server;
    this.#disconnectAll = disconnectAll;
  }

  // Resolves once it listens; port 0 is any free one. Rejects if it can't.
  listen(port) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.removeListener('error', reject);
        this.#port = this.#server.address().port;
        resolve();
      });
    });
  }

  get port() {
    return this.#port;
  }

  // Does nothing if that is how it is.
  setOpen(open) {
    if (open === this.#open || this.#port === undefined) return;
    this.#open = open;
    if (open) {
      this.#reopen();
    } else {
      this.#server.close();
      this.#disconnectAll();
    }
  }

  // Somebody may have the port for a moment.
  #reopen() {
    const again = () => setTimeout(() => this.#open && this.#reopen(), REOPEN_MILLISECONDS);
    this.#server.once('error', again);
    this.#server.listen(this.#port, '127.0.0.1', () => this.#server.removeListener('error', again));
  }
}
