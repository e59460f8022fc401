// Who a request comes from, and what that allows. Pure decisions over a principal; authenticate.ts finds the principal.
import { MvmError, type TenantId } from '@mvm/protocol';

export type Principal =
	/** The admin socket or an operator's key. */
	| { readonly role: 'operator'; readonly actor: string }
	| { readonly role: 'tenant_admin' | 'tenant_user'; readonly tenantId: TenantId; readonly actor: string };

/** True when the principal may act inside the tenant. */
export function isOfTenant(principal: Principal, tenantId: TenantId): boolean {
	return principal.role === 'operator' || principal.tenantId === tenantId;
}

/** True when the principal may do everything in the tenant. */
export function administers(principal: Principal, tenantId: TenantId): boolean {
	return principal.role === 'operator' || (principal.role === 'tenant_admin' && principal.tenantId === tenantId);
}

/** Throws FORBIDDEN unless the principal is the operator or, for a tenant's own things, an administrator of it. */
export function requirePermission(principal: Principal, need: 'operator' | 'tenant', tenantId: TenantId | undefined): void {
	if (principal.role === 'operator') return;
	const hint = 'use a key of an operator, or of an administrator of this tenant';
	if (need === 'operator') throw new MvmError('FORBIDDEN', 'this needs an operator', { hint });
	if (principal.role !== 'tenant_admin') throw new MvmError('FORBIDDEN', 'this needs an administrator of the tenant', { hint });
	// The same answer whether the foreign tenant exists or not.
	if (tenantId !== undefined && principal.tenantId !== tenantId) {
		throw new MvmError('FORBIDDEN', 'the key belongs to another tenant', { hint });
	}
}
