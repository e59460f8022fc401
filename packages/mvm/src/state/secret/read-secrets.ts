// Reads secrets: metadata for people, values for the few places that hand them on (secrets files, endpoints, ingress checks).
import { MvmError, type TenantId } from '@mvm/protocol';
import type { SecretValue } from '../../platform/secret-value.ts';
import type { Tx } from '../database.ts';
import type { MasterKey } from './master-key.ts';

export interface SecretInfo {
	readonly name: string;
	/** Grows with every change of the tenant's secrets. */
	readonly version: number;
	readonly createdAt: Date;
}

/** By name, without values. */
export async function listSecrets(tx: Tx, tenantId: TenantId): Promise<readonly SecretInfo[]> {
	return tx
		.selectFrom('secret')
		.select(['name', 'version', 'createdAt'])
		.where('tenantId', '=', tenantId)
		.orderBy('name')
		.execute();
}

/** Throws SECRET_MISSING or SECRET_UNDECRYPTABLE. */
export async function readSecret(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly name: string; readonly key: MasterKey },
): Promise<SecretValue> {
	const value = (await readSecrets(tx, { ...input, names: [input.name] })).get(input.name);
	if (value !== undefined) return value;
	throw new MvmError('SECRET_MISSING', `secret ${input.name} of ${input.tenantId} has no value`, {
		details: { tenant_id: input.tenantId, name: input.name },
		hint: `mvm tenant secrets set ${input.tenantId} ${input.name}`,
	});
}

/** The values of `names` (absent: all); a name without a value is left out. Throws SECRET_UNDECRYPTABLE. */
export async function readSecrets(
	tx: Tx,
	input: { readonly tenantId: TenantId; readonly names?: readonly string[]; readonly key: MasterKey },
): Promise<ReadonlyMap<string, SecretValue>> {
	const { tenantId, names, key } = input;
	let query = tx.selectFrom('secret').selectAll().where('tenantId', '=', tenantId);
	if (names !== undefined) {
		if (names.length === 0) return new Map();
		query = query.where('name', 'in', [...names]);
	}
	const rows = await query.execute();
	return new Map(rows.map((row) => [row.name, key.open(row, { tenantId, name: row.name, version: row.version })]));
}
