package fips

import (
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/tlsconn"
)

// setting, in GODEBUG at the start of a process, switches Go's cryptographic module to FIPS 140-3.
const setting = "fips140=on"

var (
	errNoFIPS     = errors.New("fips = true: the cryptographic module of this program has no FIPS 140-3 mode")
	errBoringFIPS = errors.New("fips = true: this program computes by BoringCrypto, which excludes Go's FIPS 140-3 " +
		"mode: use one that was built without it")
)

// Enter makes sure that the process uses FIPS 140-3. The mode is chosen when a process begins, so the process begins
// again, with the same arguments, and Enter does not return. It is called before any other goroutine runs.
func Enter() error {
	if err := excluded(tlsconn.ProviderName()); err != nil {
		return err
	}
	if fips140.Enabled() {
		return nil
	}
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, setting) {
		return errNoFIPS // the process has begun again already
	}
	if debug != "" {
		debug += ","
	}
	if err := os.Setenv("GODEBUG", debug+setting); err != nil {
		return fmt.Errorf("fips = true: %w", err)
	}
	// This is the program that runs, also when its file was replaced.
	return fmt.Errorf("fips = true: start again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// excluded returns why a program with that provider of TLS cannot begin again: Go's runtime panics when it
// finds BoringCrypto and setting in one process, before any of our code runs.
func excluded(provider string) error {
	if strings.HasPrefix(provider, "boringcrypto") {
		return errBoringFIPS
	}
	return nil
}
