package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Snapshots is what a [Source] serves besides, if it can give its whole state away. [NewServer] looks whether its Source does.
type Snapshots interface {
	// Snapshot writes a line of JSON, a [SnapshotHead], and then the state as package fsm writes snapshots: that of the leader,
	// with everything that was acknowledged before, wherever it is; or, if stale, what this member has. An error
	// before the first byte tells why; a later one breaks the stream off.
	Snapshot(ctx context.Context, stale bool, w io.Writer) error
	// NoteBackup puts into the log that a backup was written and verified.
	NoteBackup(ctx context.Context, b Backup) (*Backups, error)
	Backups(ctx context.Context) (*Backups, error)
}

// SnapshotHead is what comes before a state.
type SnapshotHead struct {
	Meta  json.RawMessage `json:"meta"`  // of an archive of it, as package snapshot has it; without secrets
	Bytes int64           `json:"bytes"` // about how many follow
}

// Backup is an archive that was written and verified.
type Backup struct {
	Taken     time.Time `json:"taken"`
	Index     uint64    `json:"index"` // of the state in it
	Where     string    `json:"where"` // for people, up to 64 bytes
	Identity  bool      `json:"identity"`
	Authority bool      `json:"authority"`
	// PlanetKey is the SHA-256 of the public half of the planet's signing key that is sealed in it, hexadecimal; "" = none.
	PlanetKey string `json:"planet_key,omitempty"`
}

// Backups is what the log knows of backups.
type Backups struct {
	Last *Backup `json:"last"` // nil = none
	Key  *Backup `json:"key"`  // the newest with a planet key; nil = none
	// PlanetKey is that of the current planet, as in Backup; "" = none is published.
	PlanetKey string    `json:"planet_key"`
	KeySafe   bool      `json:"key_safe"` // Key holds the key of the current planet
	Time      time.Time `json:"time"`     // the log's
}

// snapshotPatience is how long a client may take to read what was written: a state that nobody fetches costs memory.
const snapshotPatience = time.Minute

func (s *Server) snapshotRoutes(c Snapshots) {
	s.mux.HandleFunc("GET /v1/snapshot", func(w http.ResponseWriter, r *http.Request) {
		out := &patientWriter{w: w, rc: http.NewResponseController(w)}
		err := c.Snapshot(r.Context(), r.URL.Query().Get("stale") == "1", out)
		switch {
		case err != nil && !out.begun:
			s.fail(w, errorFor("take snapshot", err))
		case err != nil:
			s.log.Warn("admin request failed", "request", "take snapshot", "error", err)
			panic(http.ErrAbortHandler) // the client must notice
		}
	})
	s.mux.HandleFunc("GET /v1/backups", func(w http.ResponseWriter, r *http.Request) {
		v, err := c.Backups(r.Context())
		s.answer(w, "list backups", v, err)
	})
	s.mux.HandleFunc("POST /v1/backups", func(w http.ResponseWriter, r *http.Request) {
		const what = "note backup"
		var b Backup
		if body, ok := s.body(w, r, what); !ok {
			return
		} else if err := json.Unmarshal(body, &b); err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: fmt.Sprintf("request not understood (%v)", err)})
			return
		}
		v, err := c.NoteBackup(r.Context(), b)
		s.answer(w, what, v, err)
	})
}

// patientWriter gives each write its own time.
type patientWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if !p.begun {
		p.w.Header().Set("Content-Type", "application/octet-stream")
		p.begun = true
	}
	if err := p.rc.SetWriteDeadline(time.Now().Add(snapshotPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

// Snapshot returns what comes before the state, and the state, which ends with [io.EOF] only if it came wholly over. It must be closed.
func (c *Client) Snapshot(ctx context.Context, stale bool) (*SnapshotHead, io.ReadCloser, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/snapshot"+flags("stale", stale), nil)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(body, 1<<18)
	head := new(SnapshotHead)
	line, err := r.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, head)
	}
	if err != nil {
		_ = body.Close()
		return nil, nil, &Error{What: "take snapshot", Why: "answer not understood: " + err.Error(), Hint: "rootctl and rootd may be of different versions: compare rootctl version"}
	}
	return head, stateBody{r, body}, nil
}

type stateBody struct {
	r    *bufio.Reader
	body io.Closer
}

func (s stateBody) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &Error{What: "take snapshot", Why: "the state was cut short: " + err.Error(), Hint: "rootd may have stopped, or lost the leader: see rootctl status, and try again"}
	}
	return n, err
}

func (s stateBody) Close() error { return s.body.Close() }

// NoteBackup puts into the log that a backup was written and verified.
func (c *Client) NoteBackup(ctx context.Context, b Backup) (*Backups, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return get[Backups](ctx, c, http.MethodPost, "/v1/backups", body)
}

// Backups returns what the log knows of backups.
func (c *Client) Backups(ctx context.Context) (*Backups, error) {
	return get[Backups](ctx, c, http.MethodGet, "/v1/backups", nil)
}
