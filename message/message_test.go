package message

import (
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestLookup_slotsAreDistinct(t *testing.T) {
	used := map[uint64]Name{}
	for n := Host; n < NameCount; n++ {
		k := slot(lastWord([]byte(strings.ToLower(n.String()))), len(n.String()))
		if m, taken := used[k]; taken {
			t.Errorf("%s and %s share slot %d: hashSeed is to be searched again", m, n, k)
		}
		used[k] = n
	}
}

func TestLookup_findsEveryNameInAnyCase(t *testing.T) {
	for n := Host; n < NameCount; n++ {
		name := n.String()
		if len(name) == 0 || len(name) > nameMax || !ValidName(name) {
			t.Fatalf("name %d is %q", n, name)
		}
		for _, s := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if Lookup(s) != n || LookupBytes([]byte(s)) != n {
				t.Errorf("Lookup(%q) = %v, %v", s, Lookup(s), LookupBytes([]byte(s)))
			}
		}
	}
}

// A byte changed in any way but its case makes another name, so a known name needs no check of its characters.
func TestLookup_rejectsEveryOtherByte(t *testing.T) {
	for n := Host; n < NameCount; n++ {
		name := []byte(n.String())
		for i, c := range name {
			for v := range 256 {
				name[i] = byte(v)
				if lower[v] == lower[c] {
					continue
				}
				if got := LookupBytes(name); got != Other && !strings.EqualFold(got.String(), string(name)) {
					t.Fatalf("LookupBytes(%q) = %v", name, got)
				}
			}
			name[i] = c
		}
	}
	for _, s := range []string{"", "x", "Hos", "Hostt", "Content-Lengt", "\x00\x00", strings.Repeat("a", 33)} {
		if n := Lookup(s); n != Other {
			t.Errorf("Lookup(%q) = %v", s, n)
		}
	}
}

func TestName_framing(t *testing.T) {
	var got []string
	for n := Other; n < NameCount; n++ {
		if n.Framing() {
			got = append(got, n.String())
		}
	}
	const want = "Host Connection Keep-Alive Proxy-Connection TE " +
		"Transfer-Encoding Content-Length Upgrade HTTP2-Settings"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("framing names: %s", s)
	}
}

func TestHopByHop_isTheListOfTheRFC(t *testing.T) {
	var got []string
	for n := 0; n < 256; n++ {
		if HopByHop(Name(n)) {
			got = append(got, Name(n).String())
		}
	}
	const want = "Connection Keep-Alive Proxy-Connection TE Transfer-Encoding Upgrade HTTP2-Settings " +
		"Proxy-Authenticate Proxy-Authorization"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("hop-by-hop names: %s", s)
	}
}

func TestVerb_pairsWithItsName(t *testing.T) {
	for v := VerbGet; v < VerbCount; v++ {
		if LookupVerb(v.String()) != v || LookupVerbBytes([]byte(v.String())) != v {
			t.Errorf("%q is not found", v)
		}
	}
	for _, s := range []string{"", "get", "GETT", "PROPFIND"} {
		if LookupVerb(s) != VerbOther || LookupVerbBytes([]byte(s)) != VerbOther {
			t.Errorf("%q has a number", s)
		}
	}
	if !VerbGet.Safe() || VerbPost.Safe() || VerbPost.Idempotent() || !VerbPut.Idempotent() || VerbPatch.Idempotent() ||
		VerbConnect.Idempotent() || !VerbQuery.Safe() || !VerbQuery.Idempotent() {
		t.Error("RFC 9110 §9.2 says otherwise")
	}
}

func TestValid_namesAndValues(t *testing.T) {
	for _, s := range []string{"", "a b", "a:", "a\x00", "é", "a\t", strings.Repeat("a", 1<<16)} {
		if ValidName(s) {
			t.Errorf("name %q is valid", s)
		}
	}
	for _, s := range []string{" a", "a\t", "a\r\nb", "\n", "a\x00b", "\x7f", " "} {
		if ValidValue(s) {
			t.Errorf("value %q is valid", s)
		}
	}
	for _, s := range []string{"", "a\tb", "caf\xe9", "a b"} {
		if !ValidValue([]byte(s)) {
			t.Errorf("value %q is not valid", s)
		}
	}
}

func TestHead_changesKeepOtherFields(t *testing.T) {
	var h Head
	h.Add("X-One", "1")
	h.Add("accept", "text/html")
	h.Add("x-one", "2")
	if h.Get("X-ONE") != "1" || string(h.Peek(Accept)) != "text/html" || h.Find("X-Two") != -1 {
		t.Fatal("fields are not found")
	}
	h.Set("X-One", "3")
	if h.Get("x-one") != "3" || h.Get("Accept") != "text/html" {
		t.Fatal("Set changed the wrong field")
	}
	h.DelID(Accept)
	h.Del("x-one")
	if h.Has(Accept) || h.Get("X-One") != "" || h.Hops {
		t.Fatal("fields are still there")
	}
	h.Add("Proxy-Authorization", "Basic eDp5")
	if h.Hops {
		t.Fatal("a field that was added on purpose would be taken away again")
	}
	h.SetTarget("/a?b=c?d")
	h.SetMethod("PUT")
	h.SetAuthority("example.org")
	if string(h.Path()) != "/a" || string(h.Query()) != "b=c?d" || h.Verb != VerbPut ||
		string(h.MethodBytes()) != "PUT" || string(h.Bytes(h.Authority)) != "example.org" {
		t.Fatal("the request line is another")
	}
}

func TestHead_moveToCopiesBytes(t *testing.T) {
	in := []byte("Hostexample.org")
	h := Head{Base: in, Fields: []Field{{ValueAt: 4, ValueLen: 11, NameLen: 4, ID: Host}}, Status: 200}
	var dst Head
	h.MoveTo(&dst)
	copy(in, "###############")
	if dst.Get("host") != "example.org" || dst.Status != 200 || len(h.Fields) != 0 || h.Base != nil {
		t.Fatalf("moved head: %+v", dst)
	}
	if n := testutil.Allocs(100, func() {
		dst.MoveTo(&h)
		h.MoveTo(&dst)
	}); n > 2 { // h starts without a buffer each time
		t.Errorf("%v allocations", n)
	}
}

func TestLookup_allocatesNothing(t *testing.T) {
	name, b := "Content-Type", []byte("access-control-allow-credentials")
	if n := testutil.Allocs(100, func() {
		if Lookup(name) == Other || LookupBytes(b) == Other || LookupVerbBytes(b) != VerbOther {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup_browser(b *testing.B) {
	names := [][]byte{
		[]byte("Host"), []byte("Connection"), []byte("Cache-Control"), []byte("Upgrade-Insecure-Requests"),
		[]byte("User-Agent"), []byte("Accept"), []byte("Sec-Fetch-Site"), []byte("Cookie"),
	}
	b.ReportAllocs()
	for b.Loop() { // eight names a turn
		for _, n := range names {
			if LookupBytes(n) == Other {
				b.Fatal(n)
			}
		}
	}
}

// A table of a hundred fields is 1600 bytes without a pointer in it; a head of two cache lines is cheap to copy.
func TestSizes(t *testing.T) {
	if s := unsafe.Sizeof(Field{}); s != 16 {
		t.Errorf("Field is %d bytes", s)
	}
	if s := unsafe.Sizeof(Head{}); s > 128 {
		t.Errorf("Head is %d bytes", s)
	}
}

// Only a colon ends a name, not a byte that the search by words mistakes for one.
func TestLeadingName_wantsAColon(t *testing.T) {
	for c := range 256 {
		line := []byte("Content-Length" + string([]byte{byte(c)}) + "5: 6\r\nHost: a\r\n\r\n")
		want := Other
		if c == ':' {
			want = ContentLength
		}
		if id, _ := LeadingName(line, 0); id != want {
			t.Errorf("behind %#x: %v", c, id)
		}
	}
}

// CGI and its kin make one variable of X-Client and X_Client.
func TestHead_delTakesEverySpelling(t *testing.T) {
	spelled := []string{"X-Client-Name", "x_client_name", "X-CLIENT_name", "X-Real-IP", "x_real_ip", "X_Real-IP"}
	for _, del := range spelled {
		var h Head
		for _, s := range spelled {
			h.Add(s, "1")
		}
		h.Add("X-Client", "1")
		h.Add("X-Real-IQ", "1")
		h.Set(del, "2")
		var left []string
		for i := range h.Fields {
			if !h.Fields[i].Dropped() {
				left = append(left, string(h.Name(i))+"="+string(h.Value(i)))
			}
		}
		others := "X-Real-IP=1 x_real_ip=1 X_Real-IP=1"
		if strings.EqualFold(strings.ReplaceAll(del, "_", "-"), "X-Real-IP") {
			others = "X-Client-Name=1 x_client_name=1 X-CLIENT_name=1"
		}
		if got := strings.Join(left, " "); got != others+" X-Client=1 X-Real-IQ=1 "+del+"=2" {
			t.Errorf("%s: left are %s", del, got)
		}
	}
}

func TestLookupSpelled(t *testing.T) {
	for n := Host; n < NameCount; n++ {
		if got := LookupSpelled([]byte(strings.ReplaceAll(strings.ToUpper(n.String()), "-", "_"))); got != n {
			t.Errorf("%v: %v", n, got)
		}
		if n.Claims() && n.InTrailers() {
			t.Errorf("%v in trailers", n)
		}
	}
	if n := LookupSpelled([]byte(strings.Repeat("_", 1000))); n != Other {
		t.Error(n)
	}
	for name, want := range map[string]bool{
		"X-Forwarded-For": true, "x_forwarded-Prefix": true, "X-FORWARDED": true, "X-Forwarde": false, "": false,
		"X-Forwarder": false, "XX-Forwarded-For": false,
	} {
		if IsForwarding([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestHead_Elements(t *testing.T) {
	var h Head
	h.Add("Connection", " a,\tb ,,c")
	h.Add("Host", "x,y")
	h.Add("connection", "")
	h.Add("Connection", "dropped")
	h.Fields[3].Flags |= Dropped
	var got []string
	for element := range h.Elements(Connection) {
		got = append(got, string(element))
	}
	if want := []string{"a", "b", "", "c", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHead_Single(t *testing.T) {
	var h Head
	if value, several := h.Single(Origin); value != nil || several {
		t.Error(value, several)
	}
	h.Add("Origin", "")
	if value, several := h.Single(Origin); value == nil || len(value) > 0 || several {
		t.Error("an empty field is one")
	}
	h.Add("origin", "https://b")
	if value, several := h.Single(Origin); value != nil || !several {
		t.Error(value, several)
	}
	h.DelID(Origin)
	h.Add("Origin", "https://c")
	if value, several := h.Single(Origin); string(value) != "https://c" || several {
		t.Error(value, several)
	}
}

func TestPercent_comesBack(t *testing.T) {
	for c := range 256 {
		b := AppendPercent(nil, byte(c))
		if got, size := DecodePercent(b); got != byte(c) || size != 3 {
			t.Errorf("%q: %#x of %d bytes, want %#x", b, got, size, c)
		}
	}
	for _, s := range []string{"%", "%4", "%4g", "%g4", "a%41"} {
		if got, size := DecodePercent([]byte(s)); got != s[0] || size != 1 {
			t.Errorf("%q: %q of %d bytes", s, got, size)
		}
	}
}

// A field that is put together elsewhere stands as one that is a text does, and what it was made of may change.
func TestHead_AddBytes(t *testing.T) {
	var a, b Head
	value := []byte("x=1; Path=/")
	a.AddID(SetCookie, "Set-Cookie", string(value))
	b.AddBytes(SetCookie, "Set-Cookie", value)
	clear(value)
	if string(a.Base) != string(b.Base) || a.Fields[0] != b.Fields[0] || b.Get("set-cookie") != "x=1; Path=/" {
		t.Errorf("%q and %q, %+v and %+v", a.Base, b.Base, a.Fields, b.Fields)
	}
}

func TestAppendLower(t *testing.T) {
	if got := string(AppendLower([]byte("AB"), []byte("AZaz09@[`{-\xc1\xdaÄ"))); got != "ABazaz09@[`{-\xc1\xdaÄ" {
		t.Errorf("%q", got)
	}
}
