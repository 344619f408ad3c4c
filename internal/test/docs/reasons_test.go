package docs

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// fault is a proxy.Error as the code has it, or a row of the table in docs/errors.md.
type fault struct {
	status        int
	token, reason string
	at            string
}

// errorTypes are those of RFC 9209 §2.3.
var errorTypes = strings.Fields(`dns_timeout dns_error destination_not_found destination_unavailable
	destination_ip_prohibited destination_ip_unroutable connection_refused connection_terminated connection_timeout
	connection_read_timeout connection_write_timeout connection_limit_reached tls_protocol_error
	tls_certificate_error tls_alert_received http_request_error http_request_denied http_response_incomplete
	http_response_header_section_size http_response_header_size http_response_body_size
	http_response_trailer_section_size http_response_trailer_size http_response_transfer_coding
	http_response_content_coding http_response_timeout http_upgrade_failed http_protocol_error
	proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected`)

// The table of error answers has a row for each failure of the proxy, with its status, its error type of RFC 9209 and
// its reason, and none for a failure that there is not.
func TestReasons(t *testing.T) {
	coded, rows := faultsOfCode(t), faultsOfTable(t)
	for _, f := range coded {
		if f.token != "" && !slices.Contains(errorTypes, f.token) {
			t.Errorf("%s: %q is no error type of RFC 9209", f.at, f.token)
		}
		if !slices.ContainsFunc(rows, func(row fault) bool { return f.shownBy(&row) }) {
			t.Errorf("%s: docs/errors.md has no row with %d, %q, `%s`", f.at, f.status, f.token, f.reason)
		}
	}
	for _, row := range rows {
		if strings.HasPrefix(row.reason, "client:h1: ") || strings.HasPrefix(row.reason, "client:h2: ") ||
			row.reason == "client:the request head took too long" { // the words of the codecs, and of the session
			continue
		}
		if !slices.ContainsFunc(coded, func(f fault) bool { return f.shownBy(&row) }) {
			t.Errorf("%s: no failure has %d, %q, `%s`", row.at, row.status, row.token, row.reason)
		}
	}
}

// shownBy reports whether row is about f. What has no answer of its own in the code is answered by the session, or by
// nobody.
func (f *fault) shownBy(row *fault) bool {
	const byTunnel = 101 // of exchanges that became tunnels
	return f.reason == row.reason && (f.status == row.status || row.status == byTunnel) &&
		(f.token == row.token || f.token == "" && (row.token == "http_request_error" || row.token == ""))
}

// faultsOfCode returns the rows of the table of failures, and the composite literals of type Error in package proxy and
// below it.
func faultsOfCode(t *testing.T) (all []fault) {
	t.Helper()
	root := testutil.Root(t)
	var files []string
	for _, pattern := range []string{"proxy/*.go", "proxy/*/*.go", "internal/forward/*.go", "internal/exchange/*/*.go",
		"internal/server/dynamic/*.go"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		testutil.Must(t, err)
		files = append(files, found...)
	}
	set := token.NewFileSet()
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		testutil.Must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if n == nil {
				return false
			}
			where := fmt.Sprintf("%s:%d", filepath.Base(path), set.Position(n.Pos()).Line)
			switch n := n.(type) {
			case *ast.CallExpr:
				if nameOf(n.Fun) == "failure" {
					all = append(all, faultOfRow(n, where))
				}
			case *ast.CompositeLit:
				if nameOf(n.Type) == "Error" && slices.ContainsFunc(n.Elts, namesKind) {
					all = append(all, faultOf(t, n, where))
				}
			}
			return true
		})
	}
	if len(all) < 50 {
		t.Fatalf("%d failures were found", len(all))
	}
	return all
}

// namesKind reports whether a field of an Error is a Kind that is written there.
func namesKind(field ast.Expr) bool {
	pair, ok := field.(*ast.KeyValueExpr)
	if !ok {
		return false
	}
	_, ok = pair.Value.(*ast.BasicLit)
	return ok && nameOf(pair.Key) == "Kind"
}

// faultOfRow returns what a call of failure says: the side, the kind, the status, the token, and maybe the phase.
func faultOfRow(row *ast.CallExpr, at string) fault {
	text := func(e ast.Expr) string {
		s, _ := strconv.Unquote(e.(*ast.BasicLit).Value)
		return s
	}
	kind := text(row.Args[1])
	for _, more := range row.Args[5:] {
		if c, ok := more.(*ast.CallExpr); ok && nameOf(c.Fun) == "inPhase" {
			kind = text(c.Args[0])
		}
	}
	f := fault{at: at, token: text(row.Args[3]), reason: sides[nameOf(row.Args[0])].String() + ":" + kind}
	f.status, _ = strconv.Atoi(row.Args[2].(*ast.BasicLit).Value)
	return f
}

// nameOf returns the name of a type or a function without its package.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

var sides = map[string]proxy.Side{
	"SideProxy": proxy.SideProxy, "SideClient": proxy.SideClient, "SideBackend": proxy.SideBackend,
}

func faultOf(t *testing.T, lit *ast.CompositeLit, at string) fault {
	t.Helper()
	f := fault{at: at}
	side, kind := proxy.SideProxy, ""
	for _, e := range lit.Elts {
		pair, ok := e.(*ast.KeyValueExpr)
		if !ok {
			t.Fatalf("%s: a field without a name", at)
		}
		if nameOf(pair.Key) == "From" {
			side = sides[nameOf(pair.Value)]
		}
		value, ok := pair.Value.(*ast.BasicLit)
		if !ok {
			continue
		}
		switch text, _ := strconv.Unquote(value.Value); nameOf(pair.Key) {
		case "Status":
			f.status, _ = strconv.Atoi(value.Value)
		case "Token":
			f.token = text
		case "Kind":
			kind = cmp.Or(kind, text)
		case "phase":
			kind = text
		}
	}
	f.reason = side.String() + ":" + kind
	return f
}

// faultsOfTable returns the rows of the table in docs/errors.md, one for each status and reason that a row has.
func faultsOfTable(t *testing.T) (all []fault) {
	t.Helper()
	const page = "docs/errors.md"
	text := testutil.ReadFile(t, filepath.Join(testutil.Root(t), page))
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		inside = strings.HasPrefix(line, "| status | `Proxy-Status` error |") || inside && strings.HasPrefix(line, "|")
		cells := strings.Split(line, "|")
		if !inside || len(cells) != 7 || strings.HasPrefix(line, "| status") || strings.HasPrefix(line, "|---") {
			continue
		}
		for _, status := range strings.Split(cells[1], ",") {
			for j, reason := range strings.Split(cells[3], "`") {
				if j%2 == 0 || strings.HasPrefix(reason, "…") {
					continue
				}
				row := fault{token: strings.Trim(cells[2], " `"), reason: reason, at: fmt.Sprintf("%s:%d", page, i+1)}
				if strings.HasPrefix(row.token, "(") {
					row.token = ""
				}
				row.status, _ = strconv.Atoi(strings.TrimSpace(status))
				all = append(all, row)
			}
		}
	}
	if len(all) < 50 {
		t.Fatalf("the table in %s was not found", page)
	}
	return all
}
