package process

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// setting, in GODEBUG at the start of a process, switches Go's cryptographic module to FIPS 140-3.
const fipsSetting = "fips140=on"

var (
	errNoFIPS     = errors.New("fips = true: the cryptographic module of this program has no FIPS 140-3 mode")
	errBoringFIPS = errors.New("fips = true: this program computes by BoringCrypto, which excludes Go's FIPS 140-3 " +
		"mode: use a program that was built without it")
)

// enterFIPS makes sure that the process uses the FIPS 140-3 mode of Go, which GODEBUG chooses before any code runs. So
// the process executes its own file again, with the same arguments, and enterFIPS does not return. It is called before
// any other goroutine runs, and before there are listeners, children or files that a second start would open again:
// descriptors without close-on-exec, the process number, and so the unit of systemd, stay as they are.
func enterFIPS() error {
	if err := excludedFromFIPS(tlsconn.ProviderName()); err != nil {
		return err
	}
	if fips140.Enabled() {
		return nil
	}
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, fipsSetting) {
		return errNoFIPS // the process has begun again already
	}
	if debug != "" {
		debug += ","
	}
	if err := os.Setenv("GODEBUG", debug+fipsSetting); err != nil {
		return fmt.Errorf("fips = true: %w", err)
	}
	// This is the program that runs, also when its file was replaced.
	return fmt.Errorf("fips = true: start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// excludedFromFIPS returns why a program with that provider of TLS cannot begin again: Go's runtime panics when it
// finds BoringCrypto and setting in one process, before any of our code runs.
func excludedFromFIPS(provider string) error {
	if strings.HasPrefix(provider, "boringcrypto") {
		return errBoringFIPS
	}
	return nil
}
