package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/snapshot/agent"
)

const (
	s3Scheme  = "s3://"
	outgoing  = "backup.tmp" // in the data directory: archives on their way to a store elsewhere
	overdueBy = 3            // intervals: a backup that is so late is a problem, if backup.max_age says nothing else
)

// newAgent makes the agent that backs the cluster up, nil if there is nowhere to put backups.
func (m *member) newAgent() (*agent.Agent, error) {
	c := &m.cfg.Backup
	if c.Store == "" {
		return nil, nil //nolint:nilnil // no agent is a fine answer
	}
	store, err := c.open(filepath.Join(m.dir.Path, outgoing))
	if err != nil {
		return nil, err
	}
	var seal snapshot.Seal
	if c.Recipients != "" {
		if seal, err = snapshot.SealTo(c.recipients()...); err != nil {
			return nil, err
		}
	}
	return agent.New(agent.Options{
		Store: store, Cluster: m.dir.Meta.Cluster, Every: c.Every,
		Keep:  agent.Keep{Last: c.KeepLast, Hourly: c.KeepHourly, Daily: c.KeepDaily, Weekly: c.KeepWeekly, Monthly: c.KeepMonthly},
		Leads: m.replica.IsLeader, State: m.backupState, Note: m.noteBackup(store.String()),
		Secrets: snapshot.Secrets{Identity: m.dir.Identity, Authority: m.dir.Authority, PlanetKey: m.dir.SigningKey}, Seal: seal,
		Now: time.Now, Logger: m.log,
	}), nil
}

// open returns the store that is configured.
func (c *BackupConfig) open(scratch string) (agent.Store, error) {
	o := agent.S3Options{Endpoint: c.S3Endpoint, Region: c.S3Region, Scratch: scratch}
	if c.S3Credentials != "" {
		b, err := datadir.ReadSecret(c.S3Credentials)
		if err != nil {
			return nil, err
		}
		if o.AccessKey, o.SecretKey, err = agent.ParseCredentials(b); err != nil {
			return nil, fmt.Errorf("%s: %w", c.S3Credentials, err)
		}
	}
	return agent.Open(c.Store, o)
}

// recipients splits the list.
func (c *BackupConfig) recipients() []string {
	return strings.FieldsFunc(c.Recipients, func(r rune) bool { return r == ',' || r == ' ' })
}

// check says what is wrong with the section as a whole.
func (c *BackupConfig) check() (key, what string) {
	if c.Store == "" {
		return "", ""
	}
	if c.Recipients != "" {
		if _, err := snapshot.SealTo(c.recipients()...); err != nil {
			return "backup.recipients", err.Error()
		}
	}
	if c.MaxAge != 0 && c.MaxAge < c.Every {
		return "backup.max_age", fmt.Sprintf("%v is less than backup.every, %v: every backup would be too late", c.MaxAge, c.Every)
	}
	where, isS3 := strings.CutPrefix(c.Store, s3Scheme)
	switch bucket, _, _ := strings.Cut(where, "/"); {
	case !isS3 && !filepath.IsAbs(c.Store):
		return "backup.store", fmt.Sprintf("%q is neither an absolute path nor s3://BUCKET/PREFIX", c.Store)
	case isS3 && bucket == "":
		return "backup.store", "names no bucket: s3://BUCKET/PREFIX"
	case isS3 && c.S3Endpoint == "":
		return "backup.s3_endpoint", "must be set for a store that begins with s3://, such as https://s3.eu-central-1.amazonaws.com"
	case isS3:
		if _, err := agent.NewS3(agent.S3Options{Endpoint: c.S3Endpoint, Bucket: bucket}); err != nil {
			return "backup.s3_endpoint", err.Error()
		}
	}
	return "", ""
}

// warning is what is allowed but probably not meant, "" if nothing.
func (c *BackupConfig) warning() string {
	if c.Store != "" && c.Recipients == "" {
		return "backups hold no secrets: the root's identity and the planet's signing key are not in them. Name who may open them in backup.recipients"
	}
	return ""
}

// backupState gives the agent the state to save.
func (m *member) backupState(ctx context.Context) (*agent.State, error) {
	if err := m.replica.Barrier(ctx); err != nil {
		return nil, err
	}
	frozen, err := m.fsm.Freeze()
	if err != nil {
		return nil, err
	}
	return &agent.State{Meta: m.describe(frozen), Write: frozen.Write, Release: frozen.Release}, nil
}

// describe says what is in a state, and whose it is.
func (m *member) describe(f *fsm.Frozen) snapshot.Meta {
	meta := snapshot.Describe(f)
	meta.Software, meta.Member, meta.Term = build.Current().Version, m.name, m.replica.Stats().Term
	return meta
}

// noteBackup puts the agent's backups into the log.
func (m *member) noteBackup(store string) func(context.Context, *snapshot.Meta) error {
	where := strings.ToValidUTF8(store, "?")
	for len(where) > 64 {
		_, where, _ = strings.Cut(where[1:], "/")
	}
	if where == "" {
		where = "backup.store"
	}
	return func(ctx context.Context, meta *snapshot.Meta) error {
		c := &fsm.Backup{Index: meta.Index, Taken: meta.Created.UnixMilli(), Where: where}
		if meta.Secrets.Identity != "" {
			c.Holds |= fsm.HoldsIdentity
		}
		if meta.Secrets.Authority != "" {
			c.Holds |= fsm.HoldsAuthority
		}
		if k := meta.Secrets.PlanetKey; k != "" {
			b, err := hex.DecodeString(k)
			if err != nil || len(b) != len(c.PlanetKey) {
				return errors.New("the planet key's fingerprint is none")
			}
			c.Holds, c.PlanetKey = c.Holds|fsm.HoldsPlanetKey, [32]byte(b)
		}
		_, err := m.propose(ctx, c)
		return err
	}
}

// overdue says that the newest backup is too old, "" if it is not or none are made. Any member sees it.
func (m *member) overdue(now time.Time) string {
	c := &m.cfg.Backup
	if c.Store == "" {
		return ""
	}
	limit := c.MaxAge
	if limit == 0 {
		limit = overdueBy * c.Every
	}
	last := m.fsm.View().State().Backups.Last.Taken
	why := ""
	if m.agent != nil && m.agent.Status().Problem != "" {
		why = ": " + m.agent.Status().Problem
	}
	switch age := now.Sub(time.UnixMilli(last)); {
	case last == 0 && now.Sub(m.started) > limit:
		return "no backup was ever made" + why
	case last != 0 && age > limit:
		return fmt.Sprintf("the newest backup is %v old, at most %v is wanted%s", age.Round(max(time.Second, limit/100)), limit, why)
	}
	return ""
}

// watchBackups says, once an hour, that backups are late.
func (m *member) watchBackups(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var said time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if why := m.overdue(time.Now()); why == "" {
			said = time.Time{}
		} else if time.Since(said) > time.Hour {
			m.log.Error("backups are late", "reason", why, "store", m.cfg.Backup.Store)
			said = time.Now()
		}
	}
}
