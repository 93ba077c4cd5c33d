// Connections that can be cut: a TCP proxy.
import net from 'node:net';
import {once} from 'node:events';

export class Cable {
  /** Until the test ends. @param context of the test */
  static async lay(context, url) {
    const cable = new Cable();
    const {hostname, port} = new URL(url);
    cable.sockets = new Set();
    cable.server = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]]) {
        cable.sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => { cable.sockets.delete(one); other.destroy(); });
        one.pipe(other);
      }
    });
    cable.server.listen(0, '127.0.0.1');
    await once(cable.server, 'listening');
    cable.port = cable.server.address().port;
    cable.url = `http://127.0.0.1:${cable.port}`;
    context.after(() => cable.server.listening && cable.cut());
    return cable;
  }

  async cut() {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async mend() {
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
  }
}
