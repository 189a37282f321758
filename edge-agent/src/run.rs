//! `edge-agent run`
