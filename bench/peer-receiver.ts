// The peer of durable ingress: the plainest webhook receiver there is, one insert and one commit per request on the same Postgres, as a
// process of its own. `node peer-receiver.ts <socket folder>`; prints its port. Started by ingress.ts.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';

const [socketDir = ''] = process.argv.slice(2);
const pool = new pg.Pool({ host: socketDir, user: 'mvm_super', database: 'mvm', max: 12 });
await pool.query('create schema if not exists bench_peer');
await pool.query(
	'create table if not exists bench_peer.message (id bigserial primary key, at timestamptz default now(), body text)',
);

const server = createServer((request, response) => {
	let body = '';
	request.setEncoding('utf8').on('data', (text: string) => {
		body += text;
	});
	request.on('end', () => {
		pool.query({ name: 'insert', text: 'insert into bench_peer.message (body) values ($1)', values: [body] }).then(
			() => response.writeHead(200, { 'content-length': 2 }).end('ok'),
			() => response.writeHead(503, { 'content-length': 0 }).end(),
		);
	});
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
process.on('SIGTERM', () => {
	server.closeAllConnections();
	void pool
		.query('drop schema bench_peer cascade')
		.finally(() => pool.end())
		.finally(() => process.exit(0));
});
