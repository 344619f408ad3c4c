package quic

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var allSuites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}

func makeKeys(t testing.TB, id uint16) *keys {
	secret := bytes.Repeat([]byte{7}, 32)
	if id == aes256GCM {
		secret = bytes.Repeat([]byte{7}, 48)
	}
	k := new(keys)
	if !k.init(id, secret) || !k.have() {
		t.Fatalf("no keys of %x", id)
	}
	return k
}

func TestKeys_refusesWhatDoesNotFit(t *testing.T) {
	var k keys
	if k.have() || k.init(0x1304, make([]byte, 32)) || k.init(aes256GCM, make([]byte, 32)) || k.init(aes128GCM, nil) {
		t.Error("keys of an unknown suite, or of a secret with another length")
	}
}

func TestKeys_sealAndOpenAndUpdate(t *testing.T) {
	id, _ := MakeID([]byte("abcdefgh"))
	for _, suite := range allSuites {
		k := makeKeys(t, suite)
		next := k.updated()
		for n := int64(0); n < 1<<33; n = n*5 + 1 {
			for _, k := range []*keys{k, &next} {
				d := appendShort(nil, &id, k == &next)
				number := len(d)
				d = appendNumber(d, n, 4)
				d = append(d, "some frames"...)
				d = k.seal(d, 0, number, number+4, n)
				h, ok := Parse(d)
				octets, sampled := k.unprotect(d, h.number)
				if !ok || !sampled || octets != 4 || h.number != number {
					t.Fatalf("%x: header %+v, %d octets", suite, h, octets)
				}
				if d[0]&phaseBit != 0 != (k == &next) {
					t.Fatalf("%x: the key phase is lost", suite)
				}
				if frames, ok := k.open(d, number+4, n); !ok || string(frames) != "some frames" {
					t.Fatalf("%x: opened %q, %v", suite, frames, ok)
				}
			}
		}
	}
}

// RFC 9001 has no vector with SHA-384. This packet and this secret are what golang.org/x/net/quic makes.
func TestKeys_ofAES256(t *testing.T) {
	k := makeKeys(t, aes256GCM)
	next := k.updated()
	got := k.seal(append([]byte{0x42, 0, 0xbf, 0xf4}, "some frames"...), 0, 1, 4, 654360564)
	if want := unhex(t, "5c5dba9a15960d6a395b7d48dfa009ec1149f1099bbf4e0562a55718ecfea3"); !bytes.Equal(got, want) {
		t.Errorf("packet %x", got)
	}
	if want := unhex(t, "2ec2588d51c4069b3571db06e18c3a0560205fa2d5d4b8a921fac78747c84999"+
		"948396cf4619834f93cc219b1cbfaf50"); !bytes.Equal(next.secret[:], want) {
		t.Errorf("next secret %x", next.secret)
	}
}

func TestKeys_whatChangedIsNotOpened(t *testing.T) {
	for _, suite := range allSuites {
		k := makeKeys(t, suite)
		next := k.updated()
		d := append(make([]byte, 13), "frames of a packet"...)
		d[0] = 0x43
		sealed := k.seal(d, 0, 9, 13, 5)
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 0x20
			octets, _ := k.unprotect(bad, 9)
			if _, ok := k.open(bad, 9+octets, 5); ok {
				t.Errorf("%x: octet %d changed and it was opened", suite, i)
			}
		}
		if octets, ok := k.unprotect(sealed, 9); !ok || octets != 4 {
			t.Fatal("no header")
		}
		tag := bytes.Clone(sealed[len(sealed)-tagLen:])
		if _, ok := next.open(bytes.Clone(sealed), 13, 5); ok {
			t.Errorf("%x: opened with the next key", suite)
		}
		if _, ok := k.open(sealed, 13, 6); ok || !bytes.Equal(tag, sealed[len(sealed)-tagLen:]) {
			t.Errorf("%x: opened with another number, or the tag is lost, where a reset token would be", suite)
		}
		if _, ok := k.unprotect(make([]byte, 28), 9); ok {
			t.Error("a packet without a sample")
		}
	}
}

func TestKeys_allocateNothing(t *testing.T) {
	for _, suite := range allSuites {
		k := makeKeys(t, suite)
		frames := make([]byte, 1100)
		d := make([]byte, 0, 1500)
		if n := testutil.Allocs(100, func() {
			d = append(d[:0], 0x43, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9)
			d = append(d, frames...)
			d = k.seal(d, 0, 9, 13, 9)
			octets, _ := k.unprotect(d, 9)
			if _, ok := k.open(d, 9+octets, 9); !ok {
				t.Fatal("not opened")
			}
		}); n != 0 {
			t.Errorf("%x: %v allocations for a packet both ways", suite, n)
		}
	}
}

// Both directions of a connection keep keys for all of its life.
func TestKeys_memory(t *testing.T) {
	const count = 2000
	held := make([]*keys, 0, count)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range count {
		held = append(held, makeKeys(t, aes128GCM))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / count
	t.Logf("%d bytes a direction", each)
	if each > 1700 && !testutil.RaceOn {
		t.Errorf("%d bytes", each)
	}
	runtime.KeepAlive(held)
}

func BenchmarkKeys_seal(b *testing.B) {
	k, d := makeKeys(b, aes128GCM), make([]byte, 1184, 1500)
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		d[0] = 0x43
		k.seal(d, 0, 9, 13, 9)
	}
}

// expand makes the same secrets as crypto/hkdf, and allocates nothing.
func TestExpand_isHKDF(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		from := make([]byte, []int{sha256.Size, sha512.Size384}[random.IntN(2)])
		for i := range from {
			from[i] = byte(random.Uint32())
		}
		hash := sha256.New
		if len(from) == sha512.Size384 {
			hash = sha512.New384
		}
		out := make([]byte, 1+random.IntN(len(from)))
		label := "client in"[:random.IntN(10)]
		info := string([]byte{0, byte(len(out)), byte(6 + len(label))}) + "tls13 " + label + "\x00"
		want, err := hkdf.Expand(hash, from, info, len(out))
		testutil.Must(t, err)
		if n := testutil.Allocs(1, func() { expand(out, from, label) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
		if !bytes.Equal(out, want) {
			t.Fatalf("%q of %x: %x, want %x", label, from, out, want)
		}
	}
}

func BenchmarkKeys_initial(b *testing.B) {
	id := []byte("abcdefgh")
	b.ReportAllocs()
	for b.Loop() {
		client, server := initialSecrets(id)
		var c, s keys
		c.init(aes128GCM, client[:32])
		s.init(aes128GCM, server[:32])
	}
}
