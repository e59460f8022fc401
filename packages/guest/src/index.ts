// The one door of the guest package.
export {};
