//! Nothing is measured.

use std::time::Duration;

use dreamsocket_protocol::Role;
use http::StatusCode;

use super::{Measured, Reason};
use crate::connection::counts::ConnectionCounters;
use crate::hub::Fault;
use crate::message::Closed;

#[derive(Debug)]
pub(crate) struct Meter;

impl Meter {
    #[inline(always)]
    pub(crate) fn open(_: Role, _: bool) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn flush(&mut self, _: &ConnectionCounters, _: impl Fn() -> usize) {}

    #[inline(always)]
    pub(crate) fn handler_begins(&mut self, _: Measured) {}

    #[inline(always)]
    pub(crate) fn handler_ended(&mut self) {}

    #[inline(always)]
    pub(crate) fn note_read_pause(&self) {}

    #[inline(always)]
    pub(crate) fn note_round_trip(&self, _: Duration) {}

    #[inline(always)]
    pub(crate) fn end(&mut self, _: &ConnectionCounters, _: &Closed, _: Duration) {}
}

#[inline(always)]
pub(crate) fn note_refused(_: StatusCode, _: Reason) {}

#[inline(always)]
pub(crate) fn note_fault(_: Fault) {}

#[inline(always)]
pub(crate) fn note_accept_pause() {}

#[inline(always)]
pub(crate) fn note_missed(_: Option<u64>) {}
