package battery

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// A client that pipelines without end and reads what comes is answered to the last request, however far its requests
// are ahead of the answers.
func TestPipeline_allIsAnswered(t *testing.T) {
	const batch = 1000
	requests := 50 * batch
	if os.Getenv("EDGE_SOAK") != "" {
		requests *= 4
	}
	_, addr, _ := bombTarget(t, bombLimit)
	c, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(4 * patience))
	wrote := make(chan error, 1)
	go func() {
		text := strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", batch)
		for range requests / batch {
			if _, err := io.WriteString(c, text); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	r := bufio.NewReader(c)
	for i := range requests {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 404 {
			t.Fatalf("answer %d: %s, %v", i, resp.Status, err)
		}
	}
	testutil.Must(t, <-wrote)
}
