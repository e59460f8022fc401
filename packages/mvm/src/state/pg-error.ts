// Names the constraint failures that operations turn into outcomes.
/** SQLSTATE of an error of the server, or undefined. */
export function sqlState(error: unknown): string | undefined {
	const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
	return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export const UNIQUE_VIOLATION = '23505';
export const FOREIGN_KEY_VIOLATION = '23503';
