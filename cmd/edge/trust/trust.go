package trust

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/smallstep/truststore"
	"github.com/spf13/cobra"

	"github.com/edge-proxy/edge/internal/base/safeopen"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

// flags is what the commands about the internal authority have in common.
type flags struct {
	state  string
	stores []string
	remove bool
}

// The stores that a root is put into.
const (
	systemStore   = "system"
	browsersStore = "browsers"
)

// New returns edge trust, with edge trust issue in it.
func New() *cobra.Command {
	t := &flags{}
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Have this machine trust the internal authority, or no more",
		Long: "Put the root of the internal authority, which cert = \"internal\" makes, into the system's store of " +
			"trusted roots, by root or sudo, and into those of the browsers of this user, by the program certutil. " +
			"It is trusted about names of this machine, of private networks, and the hosts that it was made with." +
			"\n\nThe authority is made by the first start or reload with cert = \"internal\".",
		Example: "  edge trust\n  edge trust --stores browsers\n  edge trust --remove",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return t.install(cmd.OutOrStdout()) },
	}
	cmd.PersistentFlags().StringVar(&t.state, "state", "", "the `folder` of the state of edge; default: the folder "+
		"that edge run takes as this user")
	cmd.Flags().StringSliceVar(&t.stores, "stores", []string{systemStore, browsersStore},
		"the `stores`: system, browsers")
	cmd.Flags().BoolVar(&t.remove, "remove", false, "take the root out of the stores")
	cmd.AddCommand(newIssue(t))
	return cmd
}

func newIssue(t *flags) *cobra.Command {
	var out string
	var client bool
	life := 90 * 24 * time.Hour
	cmd := &cobra.Command{
		Use:   "issue NAME...",
		Short: "Make a key and a certificate of the internal authority",
		Long: "Make a key with a certificate for names or addresses, in one file, for another server, or with " +
			"--client for a client of one. edge takes the file as cert without a key.",
		Example: "  edge trust issue db.internal -o db.pem\n  edge trust issue web1.internal --client -o web1.pem",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if life <= 0 {
				return fmt.Errorf("--for is %s: a certificate has to live for a while", life)
			}
			a, err := t.open()
			if err != nil {
				return err
			}
			for i, name := range names {
				names[i] = strings.ToLower(name)
				if !a.May(names[i]) {
					return fmt.Errorf("the internal authority may not vouch for %q: its names are those of this "+
						"machine, of private networks, and the hosts it was made with", name)
				}
			}
			text, err := a.Pair(life, client, names...)
			if err != nil {
				return err
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			return safeopen.WriteNew(out, text)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the new `file`, which only its owner can read; default: the "+
		"standard output")
	cmd.Flags().BoolVar(&client, "client", false, "a certificate that clients show, in place of a server's")
	cmd.Flags().DurationVar(&life, "for", life, "how long it lives, as a `time` such as 720h")
	return cmd
}

// open opens the authority, as the user who has it.
func (t *flags) open() (a *certs.Authority, err error) {
	state := t.state
	if state == "" {
		if state, err = server.StateDir(os.Geteuid()); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(state, server.AuthorityFolder)
	at, err := os.Stat(dir)
	if err == nil {
		uid, gid := -1, -1
		if os.Geteuid() == 0 {
			has := at.Sys().(*syscall.Stat_t)
			uid, gid = int(has.Uid), int(has.Gid)
		}
		a, err = certs.ReadAuthority(dir, uid, gid)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no internal authority in %s: start edge with cert = \"internal\", or name the "+
			"folder of its state with --state", dir)
	}
	return a, err
}

// install puts the root into the stores, or takes it out of them, and says where it is trusted now.
func (t *flags) install(out io.Writer) error {
	for _, store := range t.stores {
		if store != systemStore && store != browsersStore {
			return fmt.Errorf("there is no store %q: system, browsers", store)
		}
	}
	a, err := t.open()
	if err != nil {
		return err
	}
	change, did := truststore.Install, "trusted by"
	if t.remove {
		change, did = truststore.Uninstall, "no more trusted by"
	}
	var errs []error
	fmt.Fprintf(out, "edge: %s, SHA-256 %X\n", a.Path, sha256.Sum256(a.Root.Raw))
	for _, store := range []string{systemStore, browsersStore} {
		if !slices.Contains(t.stores, store) {
			continue
		}
		var options []truststore.Option
		if store == browsersStore {
			nss, err := truststore.NewNSSTrust()
			if err == nil {
				err = nss.PreCheck()
			}
			if err != nil {
				fmt.Fprintf(out, "  %-9s left alone: no certutil, or no store of a browser in this home\n", store)
				continue
			}
			options = []truststore.Option{truststore.WithTrust(nss), truststore.WithNoSystem()}
		}
		if err := change(a.Root, options...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", store, err))
			continue
		}
		fmt.Fprintf(out, "  %s the %s\n", did, store)
	}
	return errors.Join(errs...)
}
