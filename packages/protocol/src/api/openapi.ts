// The OpenAPI 3.1 document of the control API, made from the routes. Pure; the edge serves it at /v1/openapi.json.
import * as z from 'zod/mini';
import type { Codec } from '../codec/codec.ts';
import { PROBLEM_CONTENT_TYPE, ProblemSchema } from '../errors/problem.ts';
import { type ApiRoute, ROUTES } from './routes.ts';

type Json = Readonly<Record<string, unknown>>;
type AnyCodec = Codec<z.ZodMiniType>;

/** `version` is the product's. */
export function openApiDocument(version: string): Json {
	const paths: Record<string, Record<string, Json>> = {};
	for (const [id, route] of Object.entries(ROUTES)) {
		const path = route.path.replaceAll(/:([a-z]+)/g, '{$1}');
		paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(id, route) };
	}
	return {
		openapi: '3.1.0',
		info: { title: 'mvm control API', version },
		paths,
		components: {
			schemas: { Problem: schemaOf(ProblemSchema, 'output') },
			securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
		},
		security: [{ key: [] }],
	};
}

function operation(id: string, route: ApiRoute): Json {
	return {
		operationId: id,
		summary: route.summary,
		description: route.auth === 'operator' ? 'For operators.' : 'For operators and administrators of the tenant.',
		tags: [id.split('.')[0]],
		parameters: [...pathParameters(route.path), ...queryParameters(route.query), ...idempotency(route.method)],
		...(route.request
			? { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(route.request.schema, 'input') } } } }
			: {}),
		responses: {
			200: { description: 'Done.', content: { 'application/json': { schema: schemaOf(route.response.schema, 'output') } } },
			default: {
				description: 'An error with a code of the registry.',
				content: { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
			},
		},
	};
}

function pathParameters(path: string): Json[] {
	return [...path.matchAll(/:([a-z]+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } }));
}

function queryParameters(query: AnyCodec | undefined): Json[] {
	if (!query) return [];
	const { properties = {} } = schemaOf(query.schema, 'input') as { properties?: Record<string, Json> };
	return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: false, schema }));
}

function idempotency(method: string): Json[] {
	if (method === 'GET') return [];
	return [
		{
			name: 'Idempotency-Key',
			in: 'header',
			required: false,
			description: 'The same key with the same request gives the same answer.',
			schema: { type: 'string', maxLength: 200 },
		},
	];
}

/** OpenAPI 3.1 speaks JSON Schema 2020-12; only the dialect line of each schema goes. */
function schemaOf(schema: z.ZodMiniType, io: 'input' | 'output'): Json {
	const { $schema: _, ...rest } = z.toJSONSchema(schema, { io }) as Record<string, unknown>;
	return rest;
}
