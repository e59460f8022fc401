import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod/mini';
import {
	type ApiRoute,
	type PoolSpec,
	ROUTES,
	type RouteParams,
	type RouteRequest,
	type RouteResponse,
	routePath,
	type TenantView,
} from '../index.ts';

const all: readonly (readonly [string, ApiRoute])[] = Object.entries(ROUTES);

describe('the control API', () => {
	it('has one route for each method and path', () => {
		const keys = all.map(([, route]) => `${route.method} ${route.path.replaceAll(/:[a-z]+/g, ':')}`);
		expect(new Set(keys).size).toBe(keys.length);
		expect(keys.length).toBeGreaterThan(30);
	});

	it.each(all)('%s is well formed', (id, route) => {
		expect(id).toMatch(/^[a-z]+\.[a-z]+$/);
		expect(route.path).toMatch(/^\/v1(\/(:[a-z]+|[a-z]+))+$/);
		if (route.method === 'GET' || route.method === 'DELETE') expect(route.request).toBeUndefined();
		else expect(route.query).toBeUndefined();
	});

	it.each(all)('%s can be described by a JSON Schema', (_, route) => {
		for (const codec of [route.request, route.query, route.response])
			if (codec) expect(z.toJSONSchema(codec.schema, { io: 'input', unrepresentable: 'throw' })).toBeTypeOf('object');
	});

	it('gives every client the same types', () => {
		expectTypeOf<RouteParams<'pool.get'>>().toEqualTypeOf<{ readonly tenant: string; readonly pool: string }>();
		expectTypeOf<RouteParams<'tenant.list'>>().toEqualTypeOf<{ readonly [K in never]: string }>();
		expectTypeOf<RouteRequest<'pool.create'>>().toEqualTypeOf<PoolSpec>();
		expectTypeOf<RouteRequest<'tenant.list'>>().toEqualTypeOf<undefined>();
		expectTypeOf<RouteResponse<'tenant.get'>>().toEqualTypeOf<TenantView>();
		expectTypeOf<RouteResponse<'tenant.list'>['items'][number]>().toEqualTypeOf<TenantView>();
	});

	it('escapes what it puts into a path', () => {
		expect(routePath('pool.get', { tenant: 'a', pool: '../b?c' })).toBe('/v1/tenants/a/pools/..%2Fb%3Fc');
	});

	it('never answers with the value of a secret', () => {
		const schema = JSON.stringify(z.toJSONSchema(ROUTES['secret.list'].response.schema));
		expect(schema).not.toContain('"value"');
	});
});
