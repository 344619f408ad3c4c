package quic

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// vectors reads the values of RFC 9001, appendix A.
func vectors(t testing.TB) map[string][]byte {
	text, err := os.ReadFile("testdata/rfc9001.txt")
	testutil.Must(t, err)
	all, name := map[string][]byte{}, ""
	for line := range strings.Lines(string(text)) {
		switch {
		case line[0] == '#':
		case line[0] != '\t':
			name = strings.TrimSpace(line)
		default:
			all[name] = append(all[name], unhex(t, strings.TrimSpace(line))...)
		}
	}
	frames := make([]byte, 1162)
	copy(frames, all["client-frames"])
	all["client-frames"] = frames
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	testutil.Must(t, err)
	return b
}

// vectorKeys are the keys that seal the packets of the vectors.
func vectorKeys(t testing.TB, v map[string][]byte) map[string]*keys {
	client, server := initialSecrets(v["id"])
	all := map[string]*keys{"client": new(keys), "server": new(keys), "chacha": new(keys)}
	if !all["client"].init(aes128GCM, client[:32]) || !all["server"].init(aes128GCM, server[:32]) ||
		!all["chacha"].init(chaCha20, v["chacha-secret"]) {
		t.Fatal("no keys")
	}
	return all
}

var vectorNumbers = map[string]int64{"client": 2, "server": 1, "chacha": 654360564}

func TestKeys_secretsOfRFC9001(t *testing.T) {
	v := vectors(t)
	client, server := initialSecrets(v["id"])
	if !bytes.Equal(client[:32], v["client-secret"]) || !bytes.Equal(server[:32], v["server-secret"]) {
		t.Fatalf("secrets %x, %x", client, server)
	}
	for name, k := range vectorKeys(t, v) {
		if !bytes.Equal(k.iv[:], v[name+"-iv"]) {
			t.Errorf("%s: iv %x", name, k.iv)
		}
	}
	next := vectorKeys(t, v)["chacha"].updated()
	if !bytes.Equal(next.secret[:32], v["chacha-next-secret"]) {
		t.Errorf("secret after an update: %x", next.secret)
	}
}

func TestKeys_packetsOfRFC9001(t *testing.T) {
	v := vectors(t)
	for name, k := range vectorKeys(t, v) {
		header, frames, packet := v[name+"-header"], v[name+"-frames"], v[name+"-packet"]
		octets, n := int(header[0]&3)+1, vectorNumbers[name]
		number := len(header) - octets
		before := []byte("another packet of the datagram")
		d := append(append(bytes.Clone(before), header...), frames...)
		d = k.seal(d, len(before), len(before)+number, len(before)+len(header), n)
		if !bytes.Equal(d[len(before):], packet) {
			t.Errorf("%s: sealed %x", name, d)
		}
		got, ok := k.unprotect(packet, number)
		if !ok || got != octets || !bytes.Equal(packet[:len(header)], header) {
			t.Fatalf("%s: header %x, %d octets of number", name, packet[:len(header)], got)
		}
		if decoded := decodeNumber(n-1, packet[number:number+got]); decoded != n {
			t.Errorf("%s: number %d, want %d", name, decoded, n)
		}
		if opened, ok := k.open(packet, len(header), n); !ok || !bytes.Equal(opened, frames) {
			t.Errorf("%s: opened %x, %v", name, opened, ok)
		}
	}
}

func TestParse_packetsOfRFC9001(t *testing.T) {
	v := vectors(t)
	h, ok := Parse(v["client-packet"])
	if !ok || h.Kind != InitialPacket || h.Version != Version1 || !bytes.Equal(h.Dest, v["id"]) ||
		len(h.Source) != 0 || h.number != 18 || h.size != 1200 {
		t.Errorf("client: %+v, %v", h, ok)
	}
	h, ok = Parse(v["server-packet"])
	if !ok || h.Kind != InitialPacket || len(h.Dest) != 0 || hex.EncodeToString(h.Source) != "f067a5502a4262b5" ||
		h.number != 18 || h.size != 135 {
		t.Errorf("server: %+v, %v", h, ok)
	}
	h, ok = Parse(v["retry-packet"])
	if !ok || h.Kind != RetryPacket || string(h.Token) != "token" {
		t.Errorf("retry: %+v, %v", h, ok)
	}
}

func TestRetry_ofRFC9001(t *testing.T) {
	v := vectors(t)
	original, _ := MakeID(v["id"])
	source, _ := MakeID(unhex(t, "f067a5502a4262b5"))
	asked, _ := Parse(v["client-packet"])
	before := []byte("before")
	got := AppendRetry(before, &asked, &source, []byte("token"))
	if string(got[:6]) != "before" || !bytes.Equal(got[6:], v["retry-packet"]) {
		t.Errorf("%x", got)
	}
	if !VerifyRetry(v["retry-packet"], &original) {
		t.Error("the tag is refused")
	}
	for i := range v["retry-packet"] {
		bad := bytes.Clone(v["retry-packet"])
		bad[i] ^= 1
		if VerifyRetry(bad, &original) {
			t.Errorf("octet %d changes and the tag is taken", i)
		}
	}
	if VerifyRetry(v["retry-packet"], &source) || VerifyRetry(nil, &original) {
		t.Error("a Retry for another id, or none, is taken")
	}
}
