// Runs one stand-in as a process: `node main.ts telegram|model --port N`, credentials from TELEGRAM_BOT_TOKEN or MODEL_KEY.
// For trying things by hand; prints one JSON line per call, and `say <chat> <text>` lines on stdin play a person.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startModel } from './model.ts';
import { startTelegram } from './telegram.ts';

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: { port: { type: 'string', default: '0' }, edge: { type: 'string' } },
});
const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const port = Number(values.port);
if (positionals[0] === 'model') {
	const model = await startModel({ port, key: process.env['MODEL_KEY'] ?? 'demo-model-key' });
	print({ started: 'model', url: model.url });
} else if (positionals[0] === 'telegram') {
	const token = process.env['TELEGRAM_BOT_TOKEN'] ?? `123456:${'A'.repeat(35)}`;
	const edge = values.edge;
	const telegram = await startTelegram({
		port,
		token,
		...(edge === undefined ? {} : { route: (url) => new URL(url.pathname + url.search, edge) }),
	});
	print({ started: 'telegram', url: telegram.url });
	createInterface({ input: process.stdin }).on('line', (line) => {
		const match = /^say (\d+) (.+)$/.exec(line);
		if (match) print({ update: telegram.userSends({ chatId: Number(match[1]), text: match[2] ?? '' }).update_id });
		else print({ calls: telegram.calls, sent: telegram.sent, attempts: telegram.attempts });
	});
} else {
	process.stderr.write('usage: main.ts telegram|model [--port N] [--edge http://host:port]\n');
	process.exitCode = 2;
}
