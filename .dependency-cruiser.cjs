// Layers as written in docs/architecture.md part "Imports". tools/check.ts refuses a run that cruised zero modules.
const services = ['edge', 'ingress', 'orchestrator', 'queue', 'lifecycle', 'reconciler', 'scaler', 'gateway', 'broker', 'state', 'operator', 'console'];
const mvm = 'packages/mvm/src';
const ours = '^packages/|^examples/|^bench/|^test/|^tools/';
const notInto = (name, from, allowed, comment) => ({
	name,
	comment,
	severity: 'error',
	from: { path: from, pathNot: '\\.test\\.ts$|/contract\\.ts$|\\.contract\\.ts$' },
	to: { path: ours, pathNot: `${allowed}|/node_modules/` },
});
/** A service may use itself whole, and a later one only through its index.ts; an earlier one not at all. */
const serviceRules = services.map((name, at) =>
	notInto(
		`service-${name}`,
		`^${mvm}/${name}/`,
		[
			`^${mvm}/(${name}|domain|ports|platform)/`,
			'^packages/protocol/src/index\\.ts$',
			...services.slice(at + 1).map((later) => `^${mvm}/${later}/index\\.ts$`),
		].join('|'),
		'services reach domain, ports, platform, protocol and later services by their index',
	),
);
module.exports = {
	forbidden: [
		{ name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
		{ name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
		notInto('protocol-is-a-leaf', '^packages/protocol/', '^packages/protocol/', 'protocol imports nothing of ours'),
		{
			name: 'protocol-without-node',
			severity: 'error',
			from: { path: '^packages/protocol/', pathNot: '\\.test\\.ts$' },
			to: { dependencyTypes: ['core'] },
		},
		notInto('guest-is-untrusted', '^packages/guest/', '^packages/guest/|^packages/protocol/src/index\\.ts$', 'guest depends on protocol only'),
		notInto('sdk-is-public', '^packages/sdk/', '^packages/sdk/|^packages/protocol/src/index\\.ts$', 'sdk depends on protocol only'),
		notInto('domain-is-pure', `^${mvm}/domain/`, `^${mvm}/domain/|^packages/protocol/src/index\\.ts$`, 'domain imports protocol only'),
		{ name: 'domain-without-node', severity: 'error', from: { path: `^${mvm}/domain/`, pathNot: '\\.test\\.ts$' }, to: { dependencyTypes: ['core'] } },
		notInto('ports', `^${mvm}/ports/`, `^${mvm}/(ports|domain)/|^packages/protocol/src/index\\.ts$`, 'ports import domain and protocol'),
		notInto('platform', `^${mvm}/platform/`, `^${mvm}/platform/|^packages/protocol/src/index\\.ts$`, 'platform is a leaf above protocol'),
		...serviceRules,
		notInto(
			'drivers',
			`^${mvm}/drivers/`,
			`^${mvm}/(drivers|ports|domain|platform)/|^packages/protocol/src/index\\.ts$`,
			'drivers never import services',
		),
		notInto(
			'cli',
			`^${mvm}/cli/`,
			`^${mvm}/(cli|main|platform)/|^packages/(protocol|sdk)/src/index\\.ts$`,
			'cli is the SDK client; daemon verbs load main lazily',
		),
		{ name: 'only-main-makes-drivers', severity: 'error', from: { path: `^${mvm}/`, pathNot: `^${mvm}/(drivers|main)/|\\.test\\.ts$` }, to: { path: `^${mvm}/drivers/` } },
		{ name: 'not-to-dev', severity: 'error', from: { path: '^packages/[^/]+/src', pathNot: '\\.test\\.ts$|contract\\.ts$' }, to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'] } },
	],
	options: {
		doNotFollow: { path: 'node_modules' },
		tsPreCompilationDeps: true,
		tsConfig: { fileName: 'packages/mvm/tsconfig.json' },
		enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
	},
};
