// The one door of the protocol package.
export type TenantId = string & { readonly brand: 'TenantId' };
export type InstanceId = string & { readonly brand: 'InstanceId' };
export interface Condition {
	readonly type: string;
	readonly status: boolean;
	readonly reason: string;
	readonly message: string;
}
export interface GuestConfig {
	readonly instanceId: InstanceId;
}
export interface ImageRecipe {
	readonly name: string;
}
export interface ImageRevision {
	readonly hash: string;
}
