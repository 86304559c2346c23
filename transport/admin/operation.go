package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Operations is what a [Source] serves besides, where the cluster remembers what operators' tools do to all of it, step by
// step: GET /v1/operation and POST /v1/operation (body: OperationStep), both answer [Operation]; and GET /v1/active.
type Operations interface {
	Operation(ctx context.Context) (*Operation, error)
	// Operate takes a step. It fails with status 409 while another operation is under way.
	Operate(ctx context.Context, s OperationStep) (*Operation, error)
	// Active counts the peers that are attached to each member that is up, by its name, and heard there: not those that are switched off.
	Active(ctx context.Context) (map[string]int, error)
}

// Operation is the last thing that a tool did to the whole cluster, and what happened in it and before.
type Operation struct {
	ID      string          `json:"id"` // 16 hexadecimal digits; "" = there was none yet
	Kind    string          `json:"kind,omitempty"`
	By      string          `json:"by,omitempty"`
	Began   time.Time       `json:"began,omitzero"`
	Last    time.Time       `json:"last,omitzero"` // when its last step was taken
	Running bool            `json:"running"`       // it has not ended, be it because its tool was killed
	History []OperationLine `json:"history"`       // of all operations, the oldest first
}

// OperationLine is one step that was taken.
type OperationLine struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// OperationStep is one step to take.
type OperationStep struct {
	ID    string `json:"id"`
	Phase string `json:"phase"` // "begin", "step", "end"
	Kind  string `json:"kind,omitempty"`
	By    string `json:"by,omitempty"`
	Text  string `json:"text"`
}

// Phases of an operation.
const (
	PhaseBegin = "begin"
	PhaseStep  = "step"
	PhaseEnd   = "end"
)

func (s *Server) operationRoutes(o Operations) {
	s.mux.HandleFunc("GET /v1/operation", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.Operation(r.Context())
		s.answer(w, "operation", v, err)
	})
	s.mux.HandleFunc("GET /v1/active", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.Active(r.Context())
		s.answer(w, "count active peers", &v, err)
	})
	s.mux.HandleFunc("POST /v1/operation", func(w http.ResponseWriter, r *http.Request) {
		const what = "take a step of an operation"
		var step OperationStep
		if body, ok := s.body(w, r, what); !ok {
			return
		} else if err := json.Unmarshal(body, &step); err != nil {
			s.fail(w, &Error{Status: http.StatusBadRequest, What: what, Why: fmt.Sprintf("request not understood (%v)", err)})
			return
		}
		v, err := o.Operate(r.Context(), step)
		s.answer(w, what, v, err)
	})
}

// Operation implements [Operations].
func (c *Client) Operation(ctx context.Context) (*Operation, error) {
	return get[Operation](ctx, c, http.MethodGet, "/v1/operation", nil)
}

// Operate implements [Operations].
func (c *Client) Operate(ctx context.Context, s OperationStep) (*Operation, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return get[Operation](ctx, c, http.MethodPost, "/v1/operation", body)
}

// Active implements [Operations].
func (c *Client) Active(ctx context.Context) (map[string]int, error) {
	m, err := get[map[string]int](ctx, c, http.MethodGet, "/v1/active", nil)
	if err != nil {
		return nil, err
	}
	return *m, nil
}
