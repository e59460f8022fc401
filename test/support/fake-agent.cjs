// Stands in for the guest agent in a sandbox: by the name of its tenant it sends garbage, stalls, or is the real one. Placed over
// the staged agent by the failure tests; never part of the product.
const { readFileSync } = require('node:fs');
const { connect } = require('node:net');
const { join } = require('node:path');

const { tenant_id: tenant } = JSON.parse(readFileSync('/etc/mvm-config/config.json', 'utf8'));
const sockets = ['to-guest.sock', 'to-host.sock'].map((name) => join('/run/mvm/link', name));
const modes = {
	/** Never connects. */
	'fake-silent': () => {},
	/** Connects and says nothing. */
	'fake-stalls': () => sockets.map((path) => connect(path)),
	/** Connects again and again with bytes that are no frame. */
	'fake-garbage': () => {
		for (const path of sockets) {
			const again = () => {
				const socket = connect(path, () => socket.write(Buffer.alloc(65_536, 0x5a)));
				socket.on('error', () => {}).on('close', () => setTimeout(again, 20));
			};
			again();
		}
	},
	/** Announces a frame of four gigabytes and keeps writing. */
	'fake-oversize': () => {
		for (const path of sockets) {
			const socket = connect(path, () => {
				socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
				setInterval(() => socket.write(Buffer.alloc(65_536)), 5);
			});
			socket.on('error', () => {});
		}
	},
	/** Says hello as somebody else. */
	'fake-liar': () => {
		for (const [at, path] of sockets.entries()) {
			const hello = JSON.stringify({
				incarnation: 99,
				token: 'made-up',
				stream: at === 0 ? 'to_guest' : 'to_host',
				agent_version: '9',
			});
			const length = Buffer.alloc(4);
			length.writeUInt32BE(Buffer.byteLength(hello));
			connect(path, function () {
				this.write(Buffer.concat([length, Buffer.from(hello)]));
			}).on('error', () => {});
		}
	},
	/** Ends at once. */
	'fake-gone': () => {
		console.log('this agent has nothing to do');
		process.exit(3);
	},
};
const mode = modes[tenant];
if (mode === undefined) require(join(__dirname, 'agent.real.cjs'));
else {
	mode();
	setInterval(() => {}, 60_000);
}
