// Exit 0 when the counter answers on its port.
const port = Number(process.env.PORT ?? 8787);
try {
	const answer = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(5000) });
	if (!answer.ok) throw new Error(`/healthz answered ${answer.status}`);
} catch (error) {
	console.error(error.cause?.code ?? error.message);
	process.exitCode = 1;
}
