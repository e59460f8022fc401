// Stores a secret's value encrypted, and tells instances by the tenant's secrets_epoch that theirs are old.
import type { TenantId } from '@mvm/protocol';
import { sql } from 'kysely';
import type { SecretValue } from '../../platform/secret-value.ts';
import type { Tx } from '../database.ts';
import { tenantNotFound } from '../tenant/get-tenant.ts';
import type { MasterKey } from './master-key.ts';
import { readSecret } from './read-secrets.ts';

export interface SetSecretInput {
	readonly tenantId: TenantId;
	readonly name: string;
	readonly value: SecretValue;
	readonly key: MasterKey;
}

/** Setting the value that is there already changes nothing. Throws TENANT_NOT_FOUND. */
export async function setSecret(
	tx: Tx,
	input: SetSecretInput,
): Promise<{ readonly change: 'set' | 'unchanged'; readonly secretsEpoch: number }> {
	const { tenantId, name, value, key } = input;
	const tenant = await tx.selectFrom('tenant').select('secretsEpoch').where('id', '=', tenantId).forUpdate().executeTakeFirst();
	if (tenant === undefined) throw tenantNotFound(tenantId);
	const present = await readSecret(tx, { tenantId, name, key }).catch(() => undefined); // unreadable: replaced
	if (present?.reveal() === value.reveal()) return { change: 'unchanged', secretsEpoch: tenant.secretsEpoch };
	const version = await bumpSecretsEpoch(tx, tenantId);
	const sealed = key.seal(value, { tenantId, name, version });
	await tx
		.insertInto('secret')
		.values({ tenantId, name, version, ...sealed })
		.onConflict((conflict) => conflict.columns(['tenantId', 'name']).doUpdateSet({ version, ...sealed, createdAt: sql`now()` }))
		.execute();
	return { change: 'set', secretsEpoch: version };
}

/** Returns false when there was none. */
export async function removeSecret(tx: Tx, input: { readonly tenantId: TenantId; readonly name: string }): Promise<boolean> {
	const gone = await tx
		.deleteFrom('secret')
		.where('tenantId', '=', input.tenantId)
		.where('name', '=', input.name)
		.returning('name')
		.executeTakeFirst();
	if (gone === undefined) return false;
	await bumpSecretsEpoch(tx, input.tenantId);
	return true;
}

async function bumpSecretsEpoch(tx: Tx, tenantId: TenantId): Promise<number> {
	const { secretsEpoch } = await tx
		.updateTable('tenant')
		.set({ secretsEpoch: sql`secrets_epoch + 1` })
		.where('id', '=', tenantId)
		.returning('secretsEpoch')
		.executeTakeFirstOrThrow();
	return secretsEpoch;
}
