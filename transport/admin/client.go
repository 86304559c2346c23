package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"

	"github.com/rootd/rootd/packetpath/vl1"
)

// Client asks a rootd: behind a unix socket, or from afar.
type Client struct {
	socket string // or address
	remote bool
	http   http.Client
}

// NewClient returns a client for the socket; it connects at the first request.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the member's status.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Peer returns one peer; [ErrNotFound] if nobody knows it.
func (c *Client) Peer(ctx context.Context, a vl1.Address) (*Peer, error) {
	return get[Peer](ctx, c, http.MethodGet, "/v1/peers/"+a.String(), nil)
}

// Planet returns the current planet.
func (c *Client) Planet(ctx context.Context) (*Planet, error) {
	return get[Planet](ctx, c, http.MethodGet, "/v1/planet", nil)
}

// PublishPlanet puts a signed world into the log.
func (c *Client) PublishPlanet(ctx context.Context, world []byte) (*Planet, error) {
	return get[Planet](ctx, c, http.MethodPut, "/v1/planet", world)
}

// Peers calls yield for each peer chosen by f as it arrives, and stops when yield fails.
func (c *Client) Peers(ctx context.Context, f PeerFilter, yield func(*Peer) error) error {
	q := url.Values{}
	if f.Prefix != "" {
		q.Set("prefix", f.Prefix)
	}
	if f.Member != "" {
		q.Set("member", f.Member)
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Unconfirmed {
		q.Set("unconfirmed", "1")
	}
	body, err := c.do(ctx, http.MethodGet, "/v1/peers?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var l line
		switch err := dec.Decode(&l); {
		case err != nil:
			return &Error{What: "list peers", Why: "the list was cut short: " + err.Error(), Hint: "rootd may have stopped: see rootctl status"}
		case l.Error != nil:
			return l.Error
		case l.End != nil:
			return nil
		case l.Peer != nil:
			if err := yield(l.Peer); err != nil {
				return err
			}
		}
	}
}

func get[T any](ctx context.Context, c *Client, method, path string, body []byte) (*T, error) {
	r, err := c.do(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	v := new(T)
	if err := json.NewDecoder(r).Decode(v); err != nil {
		return nil, &Error{What: method + " " + path, Why: "answer not understood: " + err.Error()}
	}
	return v, nil
}

// post sends a body as JSON.
func post[T any](ctx context.Context, c *Client, path string, v any) (*T, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("admin request: %w", err)
	}
	return get[T](ctx, c, http.MethodPost, path, body)
}

// do returns the body of a 2xx answer, or the Error of another.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	return c.send(ctx, method, path, bytes.NewReader(body))
}

// send is do with a body of any size.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://rootd"+path, body)
	if err != nil {
		return nil, fmt.Errorf("admin request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	e := &Error{}
	if json.NewDecoder(io.LimitReader(resp.Body, maxWorld)).Decode(e) != nil || e.Why == "" {
		e = &Error{What: method + " " + path, Why: resp.Status}
	}
	e.Status = resp.StatusCode
	return nil, e
}

// unreachable says why nobody answers and what to do.
func (c *Client) unreachable(err error) error {
	if c.remote {
		return c.unreachableRemote(err)
	}
	e := &Error{What: "ask rootd at " + c.socket, Why: err.Error()}
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.Why, e.Hint = "there is no such socket", "is rootd running? Name its directory with --data-dir, or its socket with --socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Why, e.Hint = "nobody listens there", "rootd is not running, or died: look at its log (journalctl -u rootd)"
	case errors.Is(err, os.ErrPermission):
		e.Why, e.Hint = "permission denied", "run rootctl as the user that runs rootd (sudo -u rootd rootctl ...) or as root"
	case errors.Is(err, context.DeadlineExceeded):
		e.Why, e.Hint = "no answer in time", "rootd is very busy or hangs: look at its log and metrics"
	}
	return e
}
