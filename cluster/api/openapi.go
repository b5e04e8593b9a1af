package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

//go:generate go test . -run TestOpenAPIIsCurrent -update

// OpenAPI returns the description of the API, indented: what /openapi.json serves and docs/openapi.json holds.
func OpenAPI() ([]byte, error) {
	s := newServer(http.NewServeMux(), ServerOptions{})
	raw, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("describing the API: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
