// A real SMTP server that keeps what it gets, and can refuse.
import { SMTPServer } from 'smtp-server';
import { atEnd } from './cleanup.mjs';

export class MailServer {
  constructor() {
    /** @type {{from: string, to: string[], text: string}[]} */
    this.mails = [];
    this.tries = 0;
    /** Set to answer with an SMTP code: 4xx for now, 5xx for ever. */
    this.refuse = null;
  }

  /** @param {{user?: string, password?: string, port?: number}} [options] */
  async start({ user, password, port = 0 } = {}) {
    const refused = (code) => Object.assign(new Error('refused by the test'), { responseCode: code });
    this.server = new SMTPServer({
      disabledCommands: ['STARTTLS', ...(user ? [] : ['AUTH'])],
      allowInsecureAuth: true,
      authOptional: !user,
      onAuth: (auth, session, done) => (auth.username === user && auth.password === password ? done(null, { user }) : done(refused(535))),
      onMailFrom: (address, session, done) => {
        this.tries += 1;
        done(this.refuse ? refused(this.refuse) : undefined);
      },
      onData: (stream, session, done) => {
        const parts = [];
        stream.on('data', (part) => parts.push(part));
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope;
          this.mails.push({ from: mailFrom.address, to: rcptTo.map(({ address }) => address), text: Buffer.concat(parts).toString('utf8') });
          done();
        });
      },
    });
    await new Promise((ready, fail) => {
      this.server.once('error', fail);
      this.server.listen(port, '127.0.0.1', ready);
    });
    this.server.on('error', () => {}); // clients that were killed
    this.port = this.server.server.address().port;
    this.url = `smtp://${user ? `${user}:${encodeURIComponent(password)}@` : ''}127.0.0.1:${this.port}`;
    atEnd(() => this.stop());
    return this;
  }

  stop() {
    return new Promise((done) => this.server.close(done));
  }
}

/** The link in a mail, over soft line breaks. */
export const linkIn = ({ text }) => /https?:\/\/\S+#token=[0-9a-f]+/.exec(text.replace(/=\r?\n/g, '').replaceAll('=3D', '='))?.[0];
