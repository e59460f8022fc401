// Checks that a webhook comes from who it claims: the channel's shared secret in a header, or an HMAC over the raw body.
// Called by accept before anything is stored. Comparisons take the same time whatever the header holds.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** How a channel proves its sender; `secret` is the value, already resolved. */
export type SenderCheck =
	| { readonly kind: 'header'; readonly header: string; readonly secret: string }
	| {
			readonly kind: 'signature';
			readonly header: string;
			readonly secret: string;
			readonly algorithm: 'sha256' | 'sha1' | 'sha512';
			readonly prefix: string;
	  };

/** Equal text, in time that depends on neither value. */
export function equalSecrets(given: string, expected: string): boolean {
	const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
	return timingSafeEqual(digest(given), digest(expected));
}

/** True when the request carries the proof. An empty secret never matches. */
export function isFromSender(check: SenderCheck, headers: IncomingHttpHeaders, body: Uint8Array): boolean {
	const given = headers[check.header.toLowerCase()];
	if (typeof given !== 'string' || check.secret === '') return false;
	if (check.kind === 'header') return equalSecrets(given, check.secret);
	if (!given.startsWith(check.prefix)) return false;
	const expected = createHmac(check.algorithm, check.secret).update(body).digest('hex');
	return equalSecrets(given.slice(check.prefix.length).toLowerCase(), expected);
}
