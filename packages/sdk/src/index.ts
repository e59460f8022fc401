// The one door of the sdk package.
export {};
