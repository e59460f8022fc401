// The one door of the store: the database handle, its preparation, and one function per operation on the tables.
export {
	type Connection,
	type Database,
	type DatabaseOptions,
	type NotificationHandler,
	openDatabase,
	type Tx,
	type UnitOptions,
} from './database.ts';
export { notify } from './notify.ts';
export { type PreparedStore, prepareEmbeddedStore, prepareUrlStore } from './prepare-store.ts';
export { json, type Tables } from './tables.ts';
