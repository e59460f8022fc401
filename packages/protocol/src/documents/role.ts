// Roles of pools and the order they imply.
import * as z from 'zod/mini';

export const ROLES = ['gateway', 'worker', 'builder', 'capability-imessage', 'capability-openclaw'] as const;
export const RoleSchema = z.enum(ROLES);
/** What the instances of a pool are for; fixed when the pool is made. */
export type Role = (typeof ROLES)[number];
