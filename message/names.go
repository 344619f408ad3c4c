package message

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"
)

// Name is the number of a field name that the proxy or many filters have to understand; Other for all the rest.
// The numbers are not stable between versions: they never leave the process.
type Name uint8

// The field names that have a number. The first group is what encoders write themselves, see Name.Framing; the last
// group are names of which the proxy has to know only Name.Claims.
const (
	Other Name = iota

	Host
	Connection
	KeepAlive
	ProxyConnection
	TE
	TransferEncoding
	ContentLength
	Upgrade
	HTTP2Settings

	Expect
	Trailer
	ProxyAuthenticate
	ProxyAuthorization

	Accept
	acceptCharset
	AcceptEncoding
	AcceptLanguage
	AcceptRanges
	AccessControlAllowCredentials
	AccessControlAllowHeaders
	AccessControlAllowMethods
	AccessControlAllowOrigin
	AccessControlExposeHeaders
	AccessControlMaxAge
	accessControlRequestHeaders
	AccessControlRequestMethod
	Age
	Allow
	AltSvc
	Authorization
	CacheControl
	CFConnectingIP
	ClientCert
	ClientCertChain
	ClientIP
	ContentDisposition
	ContentEncoding
	ContentLanguage
	ContentLocation
	ContentRange
	ContentSecurityPolicy
	ContentType
	Cookie
	crossOriginOpenerPolicy
	crossOriginResourcePolicy
	Date
	dnt
	ETag
	Expires
	FastlyClientIP
	FlyClientIP
	Forwarded
	IfMatch
	IfModifiedSince
	IfNoneMatch
	IfRange
	IfUnmodifiedSince
	LastModified
	Link
	Location
	MaxForwards
	Origin
	Pragma
	Priority
	Proxy
	proxyAuthenticationInfo
	ProxyClientIP
	ProxyStatus
	Range
	Referer
	ReferrerPolicy
	RetryAfter
	secChUA
	secChUAMobile
	secChUAPlatform
	SecFetchDest
	SecFetchMode
	SecFetchSite
	secFetchUser
	secGPC
	SecWebSocketAccept
	SecWebSocketExtensions
	SecWebSocketKey
	SecWebSocketProtocol
	SecWebSocketVersion
	Server
	ServerTiming
	SetCookie
	StrictTransportSecurity
	TraceParent
	TraceState
	TrueClientIP
	upgradeInsecureRequests
	UserAgent
	Vary
	Via
	WLProxyClientIP
	WWWAuthenticate
	XClientIP
	XClusterClientIP
	XContentTypeOptions
	XForwardedFor
	XForwardedHost
	XForwardedPort
	XForwardedProto
	XFrameOptions
	XOriginalHost
	XOriginalURI
	XOriginalURL
	xPoweredBy
	XRealIP
	xRequestedWith
	XRequestID
	XRewriteURL

	cfIPCountry
	cloudFrontViewerCountry
	FrontEndHTTPS
	XOriginalMethod
	XOriginatingIP
	XProxyUserIP
	XRemoteAddr
	XRemoteIP
	XScheme
	XURLScheme

	NameCount // the number of Names, Other included: the length of a table indexed by Name
)

var canonical = [NameCount]string{
	Host: "Host", Connection: "Connection", KeepAlive: "Keep-Alive", ProxyConnection: "Proxy-Connection", TE: "TE",
	TransferEncoding: "Transfer-Encoding", ContentLength: "Content-Length", Upgrade: "Upgrade",
	HTTP2Settings: "HTTP2-Settings", Expect: "Expect", Trailer: "Trailer", ProxyAuthenticate: "Proxy-Authenticate",
	ProxyAuthorization: "Proxy-Authorization", Accept: "Accept", acceptCharset: "Accept-Charset",
	AcceptEncoding: "Accept-Encoding", AcceptLanguage: "Accept-Language", AcceptRanges: "Accept-Ranges",
	AccessControlAllowCredentials: "Access-Control-Allow-Credentials",
	AccessControlAllowHeaders:     "Access-Control-Allow-Headers",
	AccessControlAllowMethods:     "Access-Control-Allow-Methods",
	AccessControlAllowOrigin:      "Access-Control-Allow-Origin",
	AccessControlExposeHeaders:    "Access-Control-Expose-Headers",
	AccessControlMaxAge:           "Access-Control-Max-Age",
	accessControlRequestHeaders:   "Access-Control-Request-Headers",
	AccessControlRequestMethod:    "Access-Control-Request-Method",
	Age:                           "Age", Allow: "Allow", AltSvc: "Alt-Svc", Authorization: "Authorization",
	CacheControl: "Cache-Control", CFConnectingIP: "CF-Connecting-IP",
	cfIPCountry: "CF-IPCountry", ClientCert: "Client-Cert", cloudFrontViewerCountry: "CloudFront-Viewer-Country",
	ClientCertChain: "Client-Cert-Chain", ClientIP: "Client-IP",
	ContentDisposition: "Content-Disposition", ContentEncoding: "Content-Encoding",
	ContentLanguage: "Content-Language", ContentLocation: "Content-Location", ContentRange: "Content-Range",
	ContentSecurityPolicy: "Content-Security-Policy", ContentType: "Content-Type", Cookie: "Cookie",
	crossOriginOpenerPolicy:   "Cross-Origin-Opener-Policy",
	crossOriginResourcePolicy: "Cross-Origin-Resource-Policy",
	Date:                      "Date", dnt: "DNT", ETag: "ETag", Expires: "Expires",
	FastlyClientIP: "Fastly-Client-IP", FlyClientIP: "Fly-Client-IP", Forwarded: "Forwarded",
	FrontEndHTTPS: "Front-End-Https",
	IfMatch:       "If-Match", IfModifiedSince: "If-Modified-Since", IfNoneMatch: "If-None-Match", IfRange: "If-Range",
	IfUnmodifiedSince: "If-Unmodified-Since", LastModified: "Last-Modified", Link: "Link", Location: "Location",
	MaxForwards: "Max-Forwards", Origin: "Origin", Pragma: "Pragma", Priority: "Priority",
	Proxy: "Proxy", proxyAuthenticationInfo: "Proxy-Authentication-Info", ProxyClientIP: "Proxy-Client-IP",
	ProxyStatus: "Proxy-Status", Range: "Range",
	Referer: "Referer", ReferrerPolicy: "Referrer-Policy", RetryAfter: "Retry-After", secChUA: "Sec-CH-UA",
	secChUAMobile: "Sec-CH-UA-Mobile", secChUAPlatform: "Sec-CH-UA-Platform", SecFetchDest: "Sec-Fetch-Dest",
	SecFetchMode: "Sec-Fetch-Mode", SecFetchSite: "Sec-Fetch-Site", secFetchUser: "Sec-Fetch-User", secGPC: "Sec-GPC",
	SecWebSocketAccept: "Sec-WebSocket-Accept", SecWebSocketExtensions: "Sec-WebSocket-Extensions",
	SecWebSocketKey: "Sec-WebSocket-Key", SecWebSocketProtocol: "Sec-WebSocket-Protocol",
	SecWebSocketVersion: "Sec-WebSocket-Version", Server: "Server", ServerTiming: "Server-Timing",
	SetCookie: "Set-Cookie", StrictTransportSecurity: "Strict-Transport-Security", TraceParent: "Traceparent",
	TraceState: "Tracestate", TrueClientIP: "True-Client-IP",
	upgradeInsecureRequests: "Upgrade-Insecure-Requests", UserAgent: "User-Agent",
	Vary: "Vary", Via: "Via", WLProxyClientIP: "WL-Proxy-Client-IP", WWWAuthenticate: "WWW-Authenticate",
	XClientIP: "X-Client-IP", XClusterClientIP: "X-Cluster-Client-IP", XContentTypeOptions: "X-Content-Type-Options",
	XForwardedFor: "X-Forwarded-For", XForwardedHost: "X-Forwarded-Host", XForwardedPort: "X-Forwarded-Port",
	XForwardedProto: "X-Forwarded-Proto", XFrameOptions: "X-Frame-Options",
	XOriginalHost: "X-Original-Host", XOriginalMethod: "X-Original-Method", XOriginalURI: "X-Original-URI",
	XOriginalURL: "X-Original-URL", XOriginatingIP: "X-Originating-IP", xPoweredBy: "X-Powered-By",
	XProxyUserIP: "X-ProxyUser-Ip", XRemoteAddr: "X-Remote-Addr", XRemoteIP: "X-Remote-IP",
	XRealIP: "X-Real-IP", xRequestedWith: "X-Requested-With", XRequestID: "X-Request-ID",
	XRewriteURL: "X-Rewrite-URL", XScheme: "X-Scheme", XURLScheme: "X-Url-Scheme",
}

// String returns the name as it is usually written, "" for Other.
func (n Name) String() string { return canonical[n] }

// Framing reports whether encoders write this field from the rest of the head, never from the table of fields: Host,
// Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Content-Length, Upgrade and HTTP2-Settings.
func (n Name) Framing() bool { return n-1 < HTTP2Settings }

// HopByHop reports whether the field ends at the next hop and must not be forwarded (RFC 9110 §7.6.1).
func HopByHop(n Name) bool { return hops>>n&1 != 0 }

const hops uint64 = 1<<Connection | 1<<KeepAlive | 1<<ProxyConnection | 1<<TE | 1<<TransferEncoding | 1<<Upgrade |
	1<<HTTP2Settings | 1<<ProxyAuthenticate | 1<<ProxyAuthorization

// Claims reports whether a proxy uses the field to name its client or the client's request. Clients must not set such
// a field (CVE-2016-5385 and kin): many applications believe it from any sender. Other names that begin with
// X-Forwarded have no number: see IsForwarding.
func (n Name) Claims() bool {
	switch n {
	case Forwarded, XForwardedFor, XForwardedHost, XForwardedPort, XForwardedProto, XRealIP,
		ClientIP, TrueClientIP, XClientIP, XClusterClientIP, CFConnectingIP, FastlyClientIP, FlyClientIP,
		ProxyClientIP, WLProxyClientIP, XOriginatingIP, XProxyUserIP, XRemoteAddr, XRemoteIP,
		cfIPCountry, cloudFrontViewerCountry, FrontEndHTTPS, XScheme, XURLScheme,
		XOriginalHost, XOriginalMethod, XOriginalURI, XOriginalURL, XRewriteURL, // as some frameworks route it
		Proxy,                       // httpoxy: CGI makes HTTP_PROXY of it
		ClientCert, ClientCertChain: // RFC 9440 §2.4: MUST be removed or overwritten
		return true
	}
	return false
}

// forwarding is the prefix of fields in which proxies describe the client.
const forwarding = "x-forwarded"

// IsForwarding reports whether name begins with X-Forwarded, in any case, with "_" or "-".
func IsForwarding(name []byte) bool {
	return len(name) >= len(forwarding) && sameSpelling(name[:len(forwarding)], forwarding)
}

// InTrailers reports whether a trailer section may hold the field (RFC 9110 §6.5.1): not none of framing, routing,
// authentication, request modifiers or content, which may have been acted on before the trailers came.
func (n Name) InTrailers() bool {
	switch n {
	case Expect, Trailer, MaxForwards, Via,
		Authorization, ProxyAuthenticate, ProxyAuthorization, WWWAuthenticate,
		proxyAuthenticationInfo, Cookie, SetCookie, Range, CacheControl,
		Pragma, IfMatch, IfNoneMatch, IfModifiedSince, IfUnmodifiedSince,
		IfRange, ContentEncoding, ContentType, ContentRange, Age,
		Expires, Date, Location, RetryAfter, Vary:
		return false
	}
	return !n.Framing() && !n.Claims()
}

// The table of names is a perfect hash: the last eight bytes of a name, folded to lower case, and its length decide
// its slot. A slot names one candidate, which is then compared in words of eight bytes:
//
//	0        8        16       24     len-8     len
//	| head 0 | head 1 | head 2 |  …  | last     |      the words may overlap
const (
	nameMax  = 32 // the longest name in the table: three words and the last one
	slotBits = 9
	hashSeed = 0xb7999beb7ac701e9 // found by trying: TestLookup_slotsAreDistinct
	spaces   = 0x2020202020202020
	ones     = 0x0101010101010101
)

// Pattern is eight bytes of a name, or less.
// Immutable.
type Pattern struct {
	lower uint64 // in lower case
	exact uint64 // the bits that no spelling changes: all but 0x20 of each letter
}

// patternOf takes the bytes that have bit 0x40 for letters: of the characters above it names hold nothing else.
func patternOf(lower uint64) Pattern { return Pattern{lower, ^(lower >> 1 & spaces)} }

// Is reports whether x, as it lies in memory (little-endian), is spelled so, in any case.
func (p *Pattern) Is(x uint64) bool { return (x^p.lower)&p.exact == 0 }

// candidate is what a slot holds: 32 bytes, so that it lies in one line of the cache.
type candidate struct {
	last Pattern // the last eight bytes, or the whole name, on top of zeros, when it is shorter
	size int
	name Name
}

var (
	slots     [1 << slotBits]candidate
	spellings [256]Spelling // indexed by Name without a bounds check
)

func init() {
	for n := Host; n < NameCount; n++ {
		b := []byte(canonical[n])
		for i, c := range b {
			b[i] = lower[c]
		}
		last := lastWord(b)
		slots[slot(last, len(b))] = candidate{patternOf(last), len(b), n}
		spellings[n] = spell(append(b, ':'))
	}
	spellings[Other].words[0].exact = math.MaxUint64 // eight zeros: no line begins so
}

// spell makes the Spelling of a name in lower case with its colon.
func spell(line []byte) Spelling {
	s := Spelling{Size: len(line) - 1}
	last := patternOf(lastWord(line))
	if len(line) <= 8 {
		shift := 64 - 8*len(line)
		s.words[0] = Pattern{last.lower >> shift, last.exact >> shift}
		return s
	}
	s.Last = last
	for i := 0; 8*i < s.Size-7; i++ {
		s.words[i] = patternOf(binary.LittleEndian.Uint64(line[8*i:]))
	}
	return s
}

// Lookup returns the number of a field name, in any case, or Other.
func Lookup(name string) Name {
	var b [nameMax]byte
	if len(name) > len(b) {
		return Other
	}
	return LookupBytes(b[:copy(b[:], name)])
}

// LookupSpelled is LookupBytes for an origin that cannot tell "_" from "-".
func LookupSpelled(name []byte) Name {
	var b [nameMax]byte
	if len(name) > len(b) {
		return Other
	}
	for i, c := range name {
		b[i] = hyphened[c]
	}
	return LookupBytes(b[:len(name)])
}

// LookupBytes is Lookup for bytes. A name that has a number is a valid one: its bytes need no further check.
func LookupBytes(b []byte) Name {
	if len(b)-1 >= nameMax {
		return Other
	}
	last := lastWord(b)
	c := &slots[slot(last, len(b))]
	if c.size != len(b) || !c.last.Is(last) {
		return Other
	}
	for i := range nameMax/8 - 1 {
		if len(b) > 8+8*i && !spellings[c.name].words[i].Is(binary.LittleEndian.Uint64(b[8*i:])) {
			return Other
		}
	}
	return c.name
}

// LeadingName returns the numbered name, in any case, that stands at b[at:] and that a colon ends, and its length.
// With Other the name may be any: it has no number, there is no colon, or too few bytes follow to read whole words.
func LeadingName(b []byte, at int) (Name, int) {
	if uint(at) > uint(len(b)) {
		return Other, 0
	}
	room := len(b) - at - 8
	if room < 0 {
		return Other, 0
	}
	x := word(b, at)
	last, size := x, 0
	if m := colons(x); m != 0 {
		marked := uint(bits.TrailingZeros64(m)) // 8*size + 7
		last, size = x<<((7-marked)&63), int(marked>>3)
	} else {
		for size = 8; ; size += 8 {
			if size > room || size > nameMax {
				return Other, 0
			}
			if m := colons(word(b, at+size)); m != 0 {
				size += bits.TrailingZeros64(m) >> 3
				break
			}
		}
		last = word(b, at+size-8)
	}
	c := &slots[slot(last, size)]
	// The next byte may have been taken for a colon by colons: "Host\xff" is no Host.
	if c.size != size || !c.last.Is(last) || b[at+size] != ':' {
		return Other, 0
	}
	if size > 8 {
		head := &spellings[c.name].words
		if !head[0].Is(x) ||
			size > 16 && (!head[1].Is(word(b, at+8)) || size > 24 && !head[2].Is(word(b, at+16))) {
			return Other, 0
		}
	}
	return c.name, size
}

// Spelling is how a line begins that names a field: the name, in any case, and its colon.
// Immutable.
type Spelling struct {
	Size int     // of the name
	Last Pattern // the last eight bytes, where Size >= 8

	words [4]Pattern // those in front of them, or all of them
}

// SpellingOf returns how n is spelled. No name has the spelling of Other.
func SpellingOf(n Name) *Spelling { return &spellings[n] }

// Begins reports whether x is how s begins: the first eight bytes, or all of them.
func (s *Spelling) Begins(x uint64) bool { return s.words[0].Is(x) }

// HasInner reports whether line, which has the first and the last bytes of s, has those in between.
func (s *Spelling) HasInner(line []byte) bool {
	for i := 1; 8*i < s.Size-7; i++ {
		if !s.words[i].Is(binary.LittleEndian.Uint64(line[8*i:])) {
			return false
		}
	}
	return true
}

// word loads b[i:i+8].
func word(b []byte, i int) uint64 {
	// SAFETY: LeadingName, the only caller, has checked that 0 <= i and i+8 <= len(b).
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))[:])
}

// colons sets the bit 0x80 of each byte of x that is a colon, and of some that no name can have or that stand after
// a colon: enough for finding the end of a name that is compared afterwards.
func colons(x uint64) uint64 { return ((x ^ ':'*ones) - ones) & (0x80 * ones) }

func slot(last uint64, size int) uint64 {
	return ((last | spaces) + 8*uint64(size)) * hashSeed >> (64 - slotBits)
}

// lastWord returns the last eight bytes of b, which is not empty, or all of it, on top of zeros, when it is shorter.
func lastWord(b []byte) uint64 {
	switch n := len(b); {
	case n >= 8:
		return binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b))<<(64-8*n) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	case n > 0:
		return uint64(b[0])<<(64-8*n) | uint64(b[n/2])<<(64-8*(n-n/2)) | uint64(b[n-1])<<56
	}
	return 0
}
