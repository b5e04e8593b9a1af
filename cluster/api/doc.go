// Package api is the admin API of a node: request and answer types, the HTTP/JSON server on the local Unix socket with its
// OpenAPI description, and the client that the CLI uses.
//
// The server turns HTTP into calls of a Backend, which cluster.Node implements. Every request type has a Validate method; the
// CLI calls it before it sends, the server calls it again before the Backend sees the request, so a Backend may rely on it.
// An error is one sentence, "what is wrong: what to do", with a code: see Error.
package api
