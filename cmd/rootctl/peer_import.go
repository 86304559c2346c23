package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

type importOptions struct{ yes, unchecked bool }

func newPeerImport(e *env) *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Make identities known before their peers say HELLO",
		Long: "import puts identities into the log, one a line of FILE (\"-\" reads standard input), as identity.public or identity.secret " +
			"has them; only the public part leaves this program. The peers are known then, and attached to no member: their first HELLO costs " +
			"the root a comparison instead of the memory-hard check of a stranger. What comes with another root's clients, or with a load test, is worth it.\n\n" +
			"Every identity is checked here first, on all cores, at about 12 ms each; if one is invalid, nothing is sent. --unchecked believes the file: " +
			"an identity that is not valid takes the address from the one that is, so it is for load tests with made-up identities only.\n\n" +
			"It is safe to run twice: peers that the root knows stay as they are. An address that another identity holds is refused and named, and the exit code is 1.",
		Example: "  rootctl peer import identities.txt --yes\n  rootswarm -synthetic -clients 50000 -list | rootctl peer import - --unchecked --yes",
		Args:    wantArgs("FILE"),
		RunE:    func(cmd *cobra.Command, args []string) error { return peerImport(cmd.Context(), e, args[0], o) },
	}
	c.Flags().BoolVar(&o.yes, "yes", false, "do it: without this it is only said what would be done")
	c.Flags().BoolVar(&o.unchecked, "unchecked", false, "do not check the identities")
	return c
}

func peerImport(ctx context.Context, e *env, file string, o importOptions) error {
	ids, err := readImport(e, file)
	if err != nil {
		return err
	}
	if !o.unchecked {
		if err := checkIdentities(ctx, e, ids); err != nil {
			return err
		}
	}
	if !o.yes {
		return &userError{what: fmt.Sprintf("%s would be known to the root from now on; nothing is done", plural(len(ids), "identity", "identities")), hint: "--yes does it"}
	}
	c := e.client()
	defer c.Close()
	var total admin.Imported
	done := 0
	for batch := range slices.Chunk(ids, admin.MaxImport) {
		r, err := importBatch(ctx, e, c, batch)
		if err != nil {
			return fmt.Errorf("after %d of %d identities: %w", done, len(ids), err)
		}
		done += len(batch)
		total.Created += r.Created
		total.Known += r.Known
		total.Collisions = append(total.Collisions, r.Collisions...)
		e.progress("%d of %d identities", done, len(ids))
	}
	e.progressDone()
	if e.output == "json" {
		err = e.printJSON(total)
	} else {
		e.printf("%s made known, %s known before\n", plural(total.Created, "peer", "peers"), count(total.Known))
	}
	if n := len(total.Collisions); n > 0 {
		return &userError{
			what: fmt.Sprintf("%s refused, as other identities hold their addresses: %v", plural(n, "identity", "identities"), total.Collisions[:min(n, 10)]),
			hint: "rootctl peer show ADDRESS tells which; who holds an address keeps it until the peer expires",
		}
	}
	return err
}

func importBatch(ctx context.Context, e *env, c *admin.Client, ids []vl1.Identity) (*admin.Imported, error) {
	ctx, cancel := e.limit(ctx)
	defer cancel()
	return c.ImportPeers(ctx, ids)
}

// readImport reads all identities of a file. The first mistake ends it, with its line.
func readImport(e *env, file string) ([]vl1.Identity, error) {
	r := e.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	var ids []vl1.Identity
	seen := make(map[vl1.Address]int)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		id, err := publicIdentity(text)
		if err != nil {
			return nil, &userError{what: fmt.Sprintf("%s, line %d", file, n), err: err}
		}
		if before, ok := seen[id.Address]; ok {
			if ids[before].Key == id.Key {
				continue
			}
			return nil, &userError{what: fmt.Sprintf("%s, line %d: another identity of the file has the address %v, too", file, n, id.Address)}
		}
		seen[id.Address] = len(ids)
		ids = append(ids, id)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(ids) == 0 {
		return nil, &userError{what: file + " holds no identities", hint: "one a line, as identity.public has it"}
	}
	return ids, nil
}

// publicIdentity reads an identity, and throws a secret part away.
func publicIdentity(text string) (vl1.Identity, error) {
	if strings.Count(text, ":") == 3 {
		s, err := vl1.ParseSecretIdentity(text)
		if err != nil {
			return vl1.Identity{}, err
		}
		return s.Identity, nil
	}
	return vl1.ParseIdentity(text)
}

// checkIdentities does the memory-hard check of all identities.
func checkIdentities(ctx context.Context, e *env, ids []vl1.Identity) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			h := vl1.NewHasher()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				if err := h.Validate(&ids[i]); err != nil {
					cancel(&userError{what: fmt.Sprintf("identity %v is not valid, nothing is imported", ids[i].Address), err: err, hint: "--unchecked believes made-up identities, for load tests"})
					return
				}
				if n := done.Add(1); n%100 == 0 {
					e.progress("%d of %d identities checked", n, len(ids))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
