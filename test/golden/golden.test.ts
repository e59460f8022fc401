// Reads every golden file: what was valid once stays valid, and what we write stays the same to the byte.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import {
	ArtifactReport,
	DesiredCounts,
	decodeGuestRequest,
	decodeGuestResponse,
	decodeHostBoundRequest,
	decodeHostBoundResponse,
	encodeFrame,
	encodeGuestRequest,
	encodeGuestResponse,
	encodeHostBoundRequest,
	encodeHostBoundResponse,
	FrameParser,
	GuestConfig,
	ImageRecipe,
	IntegrationEntry,
	IntegrationHealthResult,
	IntegrationManifest,
	IntegrationStateReport,
	IntegrationStatus,
	LinkHello,
	LinkHelloAnswer,
	manifestToJson,
	PoolSpec,
	parseDeployFile,
	Quotas,
	RoutingTable,
	RuntimePolicy,
	SecretScope,
	SleepPolicy,
} from '@mvm/protocol';
import { describe, expect, it } from 'vitest';
import { decodeManifest, encodeManifest } from '../../packages/mvm/src/domain/checkpoint-manifest.ts';

const here = new URL('./', import.meta.url);
/** The parser the host package reads TOML with. */
const ofHost = createRequire(new URL('../../packages/mvm/package.json', import.meta.url));
const { parse: parseToml } = ofHost('smol-toml') as { parse: (text: string) => unknown };
const read = (path: string): string => readFileSync(new URL(path, here), 'utf8');
const filesIn = (folder: string, end: string): string[] =>
	readdirSync(new URL(folder, here))
		.filter((name) => name.endsWith(end))
		.sort();

/** Decodes a wire value and encodes it again. */
type RoundTrip = (wire: unknown) => unknown;
const through =
	<T>(codec: { parse(wire: unknown): T; encode(value: T): unknown }): RoundTrip =>
	(wire) =>
		codec.encode(codec.parse(wire));
const link =
	<M extends { kind: string }>(decode: (wire: unknown) => M, encode: (message: never) => unknown): RoundTrip =>
	(wire) =>
		encode(decode(wire) as never);

function decoded<T>(result: { ok: true; value: T } | { ok: false; problems: readonly unknown[] }): T {
	if (result.ok) return result.value;
	throw new Error(JSON.stringify(result.problems));
}

const conversations: Readonly<Record<string, RoundTrip>> = {
	'guest-request': link(decodeGuestRequest, encodeGuestRequest),
	'guest-response': link(decodeGuestResponse, encodeGuestResponse),
	'host-bound-request': link(decodeHostBoundRequest, encodeHostBoundRequest),
	'host-bound-response': link(decodeHostBoundResponse, encodeHostBoundResponse),
	'link-hello': through(LinkHello),
	'link-hello-answer': through(LinkHelloAnswer),
	'integration-status': through(IntegrationStatus),
	'integration-health-result': through(IntegrationHealthResult),
	'integration-state-report': through(IntegrationStateReport),
	'integration-entry': through(IntegrationEntry),
	'integration-manifest': through(IntegrationManifest),
	'secret-scope': through(SecretScope),
	'desired-counts': through(DesiredCounts),
	'runtime-policy': through(RuntimePolicy),
	'sleep-policy': through(SleepPolicy),
	quotas: through(Quotas),
	'routing-table': through(RoutingTable),
	'guest-config': through(GuestConfig),
	'checkpoint-manifest': (wire) => JSON.parse(encodeManifest(decoded(decodeManifest(JSON.stringify(wire))))),
	'artifact-report': through(ArtifactReport),
};

describe.each(Object.entries(conversations))('%s', (folder, roundTrip) => {
	const files = filesIn(folder, '.json');
	it('has golden files', () => expect(files.length).toBeGreaterThan(0));
	it.each(files)('%s keeps its bytes', (file) => {
		const text = read(`${folder}/${file}`);
		const indent = text.startsWith('{\n') ? 2 : undefined;
		expect(JSON.stringify(roundTrip(JSON.parse(text)), null, indent)).toBe(text);
	});
});

describe('the manifest', () => {
	it.each(filesIn('integration-manifest', '.json'))('%s is written as pretty as the reference does', (file) => {
		const text = read(`integration-manifest/${file}`);
		expect(manifestToJson(IntegrationManifest.parse(JSON.parse(text)))).toBe(text);
	});
});

describe.each(['older', 'newer'])('%s peers', (folder) => {
	it.each(filesIn(folder, '.json'))('are understood: %s', (file) => {
		const { as, wire, is } = JSON.parse(read(`${folder}/${file}`)) as { as: string; wire: unknown; is: unknown };
		const roundTrip = conversations[as];
		expect(roundTrip).toBeDefined();
		expect(JSON.stringify(roundTrip?.(wire))).toBe(JSON.stringify(is));
	});
});

describe('frames', () => {
	it.each(filesIn('frame', '.hex'))('%s keeps its bytes', (file) => {
		const bytes = Buffer.from(read(`frame/${file}`), 'hex');
		const values = new FrameParser().push(bytes);
		expect(values).toHaveLength(1);
		expect(Buffer.from(encodeFrame(values[0])).equals(bytes)).toBe(true);
	});
});

describe('documents people write', () => {
	it.each(filesIn('deploy', '.toml'))('deploy file %s is read as before', (file) => {
		const result = parseDeployFile(parseToml(read(`deploy/${file}`)));
		if (!result.ok) throw new Error(JSON.stringify(result.problems));
		const { tenant, secrets, pools } = result.value;
		const reading = {
			tenant: { ...tenant, quotas: Quotas.encode(tenant.quotas) },
			secrets,
			pools: pools.map((p) => PoolSpec.encode(p)),
		};
		expect(JSON.parse(JSON.stringify(reading))).toEqual(JSON.parse(read(`deploy/${file.replace('.toml', '.json')}`)));
	});
	it.each(filesIn('image-recipe', '.toml'))('image recipe %s is read as before', (file) => {
		const recipe = ImageRecipe.encode(ImageRecipe.parse(parseToml(read(`image-recipe/${file}`))));
		expect(JSON.parse(JSON.stringify(recipe))).toEqual(JSON.parse(read(`image-recipe/${file.replace('.toml', '.json')}`)));
	});
});
