// Careful looks into a document that may be wrong anywhere: each returns something empty instead of failing, so that the
// cross checks can report all they see beside the problems of the schema.

export type Raw = Readonly<Record<string, unknown>>;

export const table = (value: unknown): Raw =>
	typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : {};
export const list = (value: unknown): readonly Raw[] => (Array.isArray(value) ? Array.from(value, table) : []);
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
export const whole = (value: unknown): number | undefined => (Number.isInteger(value) ? (value as number) : undefined);
