// Runs the code that a test sends it, inside an instance, as the workload. POST / with the body of an async function; answers JSON.
const { createServer } = require('node:http');

const server = createServer(async (request, response) => {
	const answer = (status, value) => {
		response.writeHead(status, { 'content-type': 'application/json' });
		response.end(JSON.stringify(value ?? null));
	};
	if (request.method === 'GET') return answer(200, { ok: true });
	try {
		let code = '';
		for await (const chunk of request) code += chunk;
		answer(200, await new Function('require', `return (async () => {${code}})()`)(require));
	} catch (error) {
		answer(500, String(error.stack));
	}
});
server.listen(8787, '127.0.0.1', () => console.log('ready for code'));
process.on('SIGTERM', () => process.exit(0));
