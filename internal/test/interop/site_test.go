package interop

import (
	"net"
	"regexp"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// local matches an address of this machine in a script, and its port where it has one.
var local = regexp.MustCompile(`(?:127\.0\.0\.1|localhost)\b(:\d+)?`)

// Three replicas of the site get one certificate of Pebble, keep it in etcd, and may be lost and replaced.
func TestSite_replicas(t *testing.T) {
	t.Parallel()
	programs := map[string]string{"etcd": sbin(t, "etcd")}
	for _, name := range []string{"pebble", "pebble-challtestsrv"} {
		programs[name] = testutil.BinaryIn(t, "internal/test/interop", "github.com/letsencrypt/pebble/v2/cmd/"+name)
	}
	ip, _, err := net.SplitHostPort(testutil.FreeAddr(t)) // of this process alone
	testutil.Must(t, err)
	free := map[string]string{"": ip} // by port
	out, err := testutil.RunSite(t, "replicas", func(_, text string) string {
		return local.ReplaceAllStringFunc(text, func(address string) string {
			port := local.FindStringSubmatch(address)[1]
			if free[port] == "" {
				free[port] = testutil.FreeAddr(t)
			}
			return free[port]
		})
	}, programs)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
