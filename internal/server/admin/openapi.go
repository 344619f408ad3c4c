package admin

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/edge-proxy/edge/internal/config"
)

// object is an object of JSON.
type object = map[string]any

// apiVersion is the version of the API: the first number is the number in its paths.
const apiVersion = "1.0.0"

// Document returns the OpenAPI 3.1 document of the API, which is made from Endpoints and the types of their values.
func Document() object {
	d := describer{schemas: object{}}
	d.refer(reflect.TypeFor[Problem]())
	paths := object{}
	for _, e := range Endpoints() {
		at, _ := paths[e.Pattern].(object)
		if at == nil {
			at = object{}
			paths[e.Pattern] = at
		}
		at[strings.ToLower(e.Method)] = d.operation(&e)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "edge", "version": apiVersion,
			"description": "What runs in a process of edge, and changes of it. docs/admin.md says who may ask for " +
				"what.",
		},
		"paths": paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{
				"token": object{"type": "http", "scheme": "bearer", "description": "Over TCP: the token of [admin]."},
			},
		},
		"security": []any{object{"token": []any{}}, object{}},
	}
}

func writeDocument(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(Document()) // an error means that the client has gone
}

// describer makes schemas of Go types.
// Owned by its goroutine.
type describer struct{ schemas object }

func (d *describer) operation(e *Endpoint) object {
	o := object{"operationId": e.ID(), "summary": firstSentence(e.Doc), "description": e.Doc,
		"responses": d.responses(e), "x-rights": e.Needs.String()}
	if params := parameters(e); len(params) > 0 {
		o["parameters"] = params
	}
	switch {
	case e.In != nil:
		o["requestBody"] = object{"content": object{
			"application/json": object{"schema": d.refer(reflect.TypeOf(e.In))}}}
	case len(e.Types) > 0:
		o["requestBody"] = object{"required": true, "content": textsOf(e.Types)}
	}
	return o
}

// textsOf describes a body of text, in one of several media types.
func textsOf(types []string) object {
	content := object{}
	for _, t := range types {
		content[t] = object{"schema": object{"type": "string"}}
		if t == "application/json" {
			content[t] = object{"schema": object{"type": "object"}}
		}
	}
	return content
}

func parameters(e *Endpoint) (all []any) {
	for _, part := range strings.Split(e.Pattern, "/") {
		if strings.HasPrefix(part, "{") {
			all = append(all, object{"name": strings.Trim(part, "{}"), "in": "path", "required": true,
				"schema": object{"type": "string"}})
		}
	}
	for _, p := range e.Query {
		all = append(all, object{"name": p.Name, "in": "query", "description": p.Doc,
			"schema": object{"type": "string"}})
	}
	for _, p := range e.Fields {
		all = append(all, object{"name": p.Name, "in": "header", "description": p.Doc,
			"schema": object{"type": "string"}})
	}
	return all
}

func (d *describer) responses(e *Endpoint) object {
	good, status := object{"description": "It is done."}, "200"
	switch {
	case e.Out != nil:
		good["content"] = object{"application/json": object{"schema": d.refer(reflect.TypeOf(e.Out))}}
	case e.Pattern == "/v1/openapi.json":
		good["content"] = object{"application/json": object{"schema": object{"type": "object"}}}
	case e.Profile:
		good["content"] = object{"application/octet-stream": object{}}
	default:
		good["content"] = object{"text/plain": object{"schema": object{"type": "string"}}}
	}
	if e.Pattern == "/v1/stop" {
		status = "202"
	}
	all := object{status: good, "default": object{"description": "It failed.", "content": object{
		"application/json": object{"schema": d.refer(reflect.TypeFor[Problem]())}}}}
	switch e.Method + " " + e.Pattern {
	case "POST /v1/upgrade":
		all["422"] = object{"description": "The process goes on.", "content": good["content"]}
	case "POST /v1/reload", "PUT /v1/config":
		all["422"] = object{"description": "The configuration is wrong, and nothing has changed.",
			"content": good["content"]}
	case "GET /readyz":
		all["503"] = object{"description": "It is not ready.", "content": good["content"]}
	}
	return all
}

// refer returns the schema of a type: of a struct a reference to it.
func (d *describer) refer(t reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		return d.refer(t.Elem())
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[Duration]():
		return object{"type": []any{"string", "number"}, "description": "A time span: \"1m30s\", or seconds."}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": d.refer(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		name := schemaName(t)
		if d.schemas[name] == nil {
			d.schemas[name] = object{} // it may hold itself
			d.schemas[name] = d.describe(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{"type": "integer"}
}

func (d *describer) describe(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous {
			continue
		}
		s := d.refer(f.Type)
		doc, enum := f.Tag.Get("doc"), f.Tag.Get("enum")
		if doc != "" {
			s["description"] = doc
		}
		if enum != "" {
			s["enum"] = strings.Split(enum, ",")
		}
		properties[name] = s
		if !strings.Contains(rest, "omit") {
			required = append(required, name)
		}
	}
	o := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// schemaName names a type: Route, RouteList. A problem of a configuration is a Finding, since an answer that is an
// error has the name Problem.
func schemaName(t reflect.Type) string {
	if t == reflect.TypeFor[config.Problem]() {
		return "Finding"
	}
	name := t.Name()
	if element, found := strings.CutPrefix(name, "List["); found {
		return strings.TrimSuffix(element[strings.LastIndexByte(element, '.')+1:], "]") + "List"
	}
	return name
}

// operationID makes "getRoutes" of GET and /v1/routes.
func operationID(method, pattern string) string {
	words := []string{strings.ToLower(method)}
	for _, part := range strings.FieldsFunc(pattern, func(r rune) bool { return r == '/' || r == '.' }) {
		if part != "v1" && !strings.HasPrefix(part, "{") {
			words = append(words, string(unicode.ToUpper(rune(part[0])))+part[1:])
		}
	}
	if strings.HasSuffix(pattern, "/{id}") {
		words = append(words, "ByID") // the endpoint without an id lists them
	}
	return strings.Join(words, "")
}

// firstSentence returns the text up to its first full stop, without it. A colon ends it, too.
func firstSentence(doc string) string {
	ends := []int{len(doc)}
	for _, mark := range []string{". ", ": "} {
		if i := strings.Index(doc, mark); i >= 0 {
			ends = append(ends, i)
		}
	}
	return strings.TrimSuffix(doc[:slices.Min(ends)], ".")
}

// Help returns the first sentence about a command, as its help has it.
func Help(command string) string {
	if e := Find(command); e != nil {
		return firstSentence(e.Doc)
	}
	return ""
}
