package variables

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// connection are the variables of the connection that a request came by.
var connection = []lang.Variable{
	address("client.ip", "The address of the client: of the connection or, where this is a trusted proxy's, the "+
		"address that the proxy names.", `client.ip in {10.0.0.0/8}`, Subject.ClientIP),
	number("client.port", lang.Int, lang.Always, "The port of the client; missing where a trusted proxy names it.",
		`client.port < 1024`, func(s Subject) (int64, bool) { return above0(s.ClientPort()) }),
	address("peer.ip", "The address of the other end of the connection: the client, or a proxy before this one.",
		`peer.ip == 127.0.0.1`, func(s Subject) netip.Addr { return s.Peer().Addr() }),
	{Name: "socket.ip", Kind: lang.IP, Phases: afterHandshake, Example: `socket.ip == 10.0.0.5`,
		Doc: "The address of the other end of the socket: `peer.ip`, or the load balancer that has told it by the " +
			"PROXY protocol.", IP: of(func(_ *lang.X, s Subject) netip.Addr { return s.SocketIP() })},
	address("server.ip", "The address that the client connected to.",
		`server.ip == 192.0.2.1`, func(s Subject) netip.Addr { return s.Local().Addr() }),
	number("server.port", lang.Int, lang.Always, "The port that the client connected to.",
		`server.port == 8443`, func(s Subject) (int64, bool) { return above0(s.Local().Port()) }),
	text("listener", lang.Always, "The name of the listener.", `listener == "admin"`, Subject.ListenerName),

	text("tls.version", afterHandshake, "The version: `TLS 1.2`, `TLS 1.3`; missing without TLS, as all of `tls.`",
		`tls.version == "TLS 1.3"`, secured((*tlsconn.Digest).VersionName)),
	text("tls.cipher", afterHandshake, "The cipher suite.", `tls.cipher contains "AES_128"`,
		secured((*tlsconn.Digest).CipherName)),
	text("tls.group", afterHandshake, "The group of the key exchange.", `tls.group == "X25519MLKEM768"`,
		secured((*tlsconn.Digest).GroupName)),
	{Name: "tls.sni", Kind: lang.Text, Phases: lang.Always, Example: `tls.sni == "db.example.com"`,
		Doc: "The name that the client asked for in the handshake, in lower case; missing where it is no name.",
		Text: of(func(x *lang.X, s Subject) []byte {
			name := kept(x, secured(serverName)(s))
			return message.AppendLower(name[:0], name)
		})},
	text("tls.alpn", lang.Always, "The protocol that both sides agreed upon. In a handshake those that the client "+
		"offers, of which one has to be so.", `tls.alpn == "h2"`,
		secured(func(d *tlsconn.Digest) string { return d.ALPN })),
	flag("tls.resumed", "Whether the handshake resumed a session.", `not tls.resumed`,
		func(s Subject) bool { d := s.TLS(); return d != nil && d.Resumed }),

	text("cert.subject", afterHandshake, "The subject of the client's certificate (RFC 2253); missing where it leads "+
		"to no authority that the listener trusts, as all of `cert.` but `sha256`.", `cert.subject contains "OU=ops"`,
		vouched(func(c *tlsconn.Certificate) string { return c.Subject })),
	text("cert.issuer", afterHandshake, "The issuer of that certificate.", `cert.issuer == "CN=our CA"`,
		vouched(func(c *tlsconn.Certificate) string { return c.Issuer })),
	text("cert.serial", afterHandshake, "Its serial number, in hexadecimal.", `cert.serial not in {"1f" "20"}`,
		vouched(func(c *tlsconn.Certificate) string { return c.Serial })),
	{Name: "cert.sans", Kind: lang.Texts, Phases: afterHandshake, Example: `cert.sans == "DNS:a.example.com"`,
		Doc:   "The list of its subject alternative names, with their types: `DNS:`, `IP:`, `email:`, `URI:`.",
		Texts: names},
	appended("cert.sha256", afterHandshake, "The SHA-256 of the certificate in hexadecimal, trusted or not: the "+
		"client has shown that it has its key.", `cert.sha256 starts_with "5f70bf18"`, appendSHA256),
	flag("cert.verified", "Whether the client's certificate leads to an authority that the listener trusts.",
		`cert.verified`, verified),
}

// made are the variables that the proxy makes for a request, or that rules and filters set.
var made = []lang.Variable{
	{Name: "time", Kind: lang.Text, Phases: afterHead, Example: `{time}`,
		Doc: "When the head of the request came, in UTC, as `time` of a log in JSON has it: " +
			"`2026-01-02T03:04:05.678901Z`.",
		Text: of(func(x *lang.X, s Subject) []byte {
			at := time.Unix(0, x.State.Now-int64(s.Duration())).UTC()
			return x.State.Keep(at.AppendFormat(x.State.Room(), "2006-01-02T15:04:05.000000Z"))
		})},
	text("route", afterHead, "The name of the route; missing before one is chosen.", `route == "api"`,
		Subject.RouteName),
	appended("request.id", afterHead, "The number of the request, as in the access log.", `{request.id}`, appendID),
	bytes("trace.id", afterHead, "The number of the trace that the request is part of.", `{trace.id}`, Subject.TraceID),
	number("attempt", lang.Int, afterHead, "The number of the attempt that is under way; 0 before the first one.",
		`attempt > 1`, func(s Subject) (int64, bool) { return int64(s.Attempts()), true }),
	{Name: "local", Kind: lang.Text, Phases: afterHead, Example: `local.tier == "gold"`,
		Doc: "`local.X` is the text that a rule has set under that name.", Named: local},
	bytes("auth.user", afterHead, "The user that a filter has made sure of.", `has(auth.user)`, Subject.User),
	{Name: "auth.claim", Kind: lang.Text, Phases: afterHead, Example: `auth.claim.groups == "admin"`,
		Doc: "`auth.claim.X` is a claim of that user, given by authentication filters: `sub` of a token, its " +
			"`groups`. There may be several values of a name; missing where no filter gave any.", NamedTexts: claim},
}

// answer are the variables that are known when there is an answer.
var answer = []lang.Variable{
	number("status", lang.Int, afterReply, "The status of the answer.", `status >= 500`,
		func(s Subject) (int64, bool) { return above0(s.Status()) }),
	text("answer.source", afterReply, "Who made the answer: `upstream`, also where a cache sent it, or `own` where "+
		"the proxy did.",
		`answer.source == "own"`, Subject.Source),
	text("answer.encoding", afterReply, "The content coding by which a filter had the answer compressed: `gzip` or "+
		"`zstd`; missing where none had.", `answer.encoding == "zstd"`,
		func(s Subject) string { coding, _ := s.Encoded(); return coding }),
	text("upstream.addr", afterReply, "The address of the backend that answered, or was tried last.",
		`upstream.addr == "10.0.0.1:8080"`, func(s Subject) string { return s.Upstream().Addr }),
	number("upstream.status", lang.Int, afterReply, "The status of the backend's answer; missing where it gave none.",
		`upstream.status == 502`, func(s Subject) (int64, bool) { return above0(s.Upstream().Status) }),
	number("upstream.time", lang.Duration, afterReply, "How long the backend took until the head of its answer came.",
		`upstream.time > 500ms`, func(s Subject) (int64, bool) { return above0(s.Upstream().Time) }),
	number("attempts", lang.Int, afterReply, "How many backends or connections were tried.",
		`attempts > 1`, func(s Subject) (int64, bool) { return int64(s.Attempts()), true }),
	number("duration", lang.Duration, afterReply, "The time since the head of the request came.",
		`duration > 2s`, func(s Subject) (int64, bool) { return int64(s.Duration()), true }),
	number("bytes.in", lang.Size, afterReply, "Bytes of the request's body that came.",
		`bytes.in > 1m`, func(s Subject) (int64, bool) { in, _ := s.Bytes(); return in, true }),
	number("bytes.out", lang.Size, afterReply, "Bytes of the answer's body that were sent.",
		`bytes.out > 1m`, func(s Subject) (int64, bool) { _, out := s.Bytes(); return out, true }),
	number("bytes.saved", lang.Size, afterReply, "Bytes of the answer's body that its compression has saved; "+
		"missing where it was not compressed.", `bytes.saved > 1m`,
		func(s Subject) (int64, bool) { coding, saved := s.Encoded(); return saved, coding != "" }),
	text("error.kind", afterReply, "What failed, in one word, where something did.",
		`error.kind == "connect"`, func(s Subject) string { _, kind := s.Fault(); return kind }),
	text("error.source", afterReply, "Whose failure it was: `client`, `backend` or `edge`.",
		`error.source == "backend"`, func(s Subject) string { by, _ := s.Fault(); return by }),
	text("cache.status", afterReply, "What the cache did: `hit`, `stale`, `revalidated`, `miss` or `bypass`; missing "+
		"without a cache, as all of `cache.`", `cache.status == "hit"`,
		func(s Subject) string { status, _, _ := s.Cache(); return status }),
	text("cache.reason", afterReply, "Why there was no hit, or why the answer was not stored, in one word; missing "+
		"where there is no reason.", `cache.reason == "set-cookie"`,
		func(s Subject) string { _, reason, _ := s.Cache(); return reason }),
	number("cache.age", lang.Duration, afterReply, "How old the stored answer is that was sent; missing with any "+
		"other answer.", `cache.age > 1h`,
		func(s Subject) (int64, bool) { _, _, age := s.Cache(); return int64(age), age >= 0 }),
	text("sample.rate", lang.Log, "In a line of the access log: the share of all requests that it stands for, such "+
		"as `0.1`; `1` where it stands for itself.", `{sample.rate}`,
		func(s Subject) string { return cmp.Or(s.SampleRate(), "1") }),
}

// aliases are the names that templates had before the language: they stay.
var aliases = []lang.Variable{
	appended("request_id", afterHead, older("request.id"), `{request_id}`, appendID),
	bytes("trace_id", afterHead, older("trace.id"), `{trace_id}`, Subject.TraceID),
	address("client_ip", older("client.ip"), `{client_ip}`, Subject.ClientIP),
	text("tls_version", afterHandshake, older("tls.version"), `{tls_version}`, secured((*tlsconn.Digest).VersionName)),
	text("tls_cipher", afterHandshake, older("tls.cipher"), `{tls_cipher}`, secured((*tlsconn.Digest).CipherName)),
	text("tls_group", afterHandshake, older("tls.group"), `{tls_group}`, secured((*tlsconn.Digest).GroupName)),
	text("sni", afterHandshake, "An older name: `tls.sni` with upper and lower case as they came.", `{sni}`,
		secured(serverName)),
	text("alpn", afterHandshake, older("tls.alpn"), `{alpn}`,
		secured(func(d *tlsconn.Digest) string { return d.ALPN })),
	text("client_cert_subject", afterHandshake, olderShown("cert.subject"), `{client_cert_subject}`,
		shown(func(c *tlsconn.Certificate) string { return c.Subject })),
	text("client_cert_issuer", afterHandshake, olderShown("cert.issuer"), `{client_cert_issuer}`,
		shown(func(c *tlsconn.Certificate) string { return c.Issuer })),
	text("client_cert_serial", afterHandshake, olderShown("cert.serial"), `{client_cert_serial}`,
		shown(func(c *tlsconn.Certificate) string { return c.Serial })),
	appended("client_cert_sans", afterHandshake, "An older name: the names of a certificate that may not be trusted, "+
		"with commas between them; a comma in a name is `%2C`.", `{client_cert_sans}`, appendNames),
	appended("client_cert_sha256", afterHandshake, older("cert.sha256"), `{client_cert_sha256}`, appendSHA256),
	text("client_cert_verified", afterHandshake, "An older name: `true` where `cert.verified` is, else missing.",
		`{client_cert_verified}`, func(s Subject) string {
			if verified(s) {
				return "true"
			}
			return ""
		}),
	{Name: "rest", Kind: lang.Text, Phases: afterHead, Example: `{rest}`,
		Doc:  "The part of the path beyond the route's path; missing where the route has a whole path.",
		Text: of(func(x *lang.X, s Subject) []byte { return s.Rest(x.Path) })},
}

func older(name string) string { return "An older name of `" + name + "`." }

func olderShown(name string) string {
	return "An older name of `" + name + "`, of a certificate that may not be trusted: see `cert.verified`."
}

func appendID(dst []byte, s Subject) []byte { return s.AppendID(dst) }

// names appends the names of the certificate, where it is trusted.
func names(x *lang.X, dst [][]byte) [][]byte {
	s, ok := x.Subject.(Subject)
	if !ok || !verified(s) {
		return dst
	}
	if c := s.TLS().PeerCertificate(); c != nil {
		for _, name := range c.SANs {
			dst = append(dst, kept(x, name))
		}
	}
	return dst
}

// local returns the variable of a text that rules set.
func local(name string) (lang.TextFunc, error) {
	return of(func(_ *lang.X, s Subject) []byte { return s.Text(name) }), nil
}

// claim returns the variable of a claim.
func claim(name string) (lang.TextsFunc, error) {
	return func(x *lang.X, dst [][]byte) [][]byte {
		if s, ok := x.Subject.(Subject); ok {
			return s.Claim(name, dst)
		}
		return dst
	}, nil
}
