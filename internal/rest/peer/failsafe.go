package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Failsafe asks a member for its promise not to race, on behalf of a primary
// that has lost the store. Only status 200 with the body "Accepted" is one
// (rest-api.md 8).
func (c *Client) Failsafe(ctx context.Context, apiURL string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, apiURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.URL.Path, r.URL.RawQuery = "/failsafe", ""
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %d %s", resp.StatusCode, bytes.TrimSpace(text))
	case string(text) != "Accepted":
		return errors.New("it did not answer \"Accepted\"")
	}
	return nil
}
