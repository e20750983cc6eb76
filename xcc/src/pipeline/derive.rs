//! From what remotes said to the table and the diagnostics: what a change touches is derived anew, and nothing else.

use tokio::time::Instant;
use tracing::warn;
use xcc_model::{Diagnostic, RemoteName, RemoteView, Touched};

use super::{Changed, Pipeline};
use crate::publisher::{describe_omitted, without};

impl Pipeline {
    /// Derives anew what depends on what was touched, and nothing else.
    pub(super) fn derive(&mut self) -> Changed {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Changed::default();
        }
        let mut changed = Changed::default();
        for (name, touched) in touched {
            self.derive_view(name, touched, &mut changed);
        }
        if changed.names.is_empty() {
            self.merge.refresh_backends(&self.views);
            self.table.backends.clone_from(&self.merge.table().backends);
        } else {
            self.merge.refresh(&self.views, &changed.names);
            self.keep_carriable(&mut changed);
        }
        if changed.diagnostics || !changed.names.is_empty() {
            self.derive_diagnostics();
            self.report();
        }
        self.unpublished.extend(changed.names.iter().cloned());
        self.connections.metrics.set_remotes(self.inventory.remotes(), &self.views);
        changed
    }

    /// Takes out of the table what not every gateway can carry: such a name must not be answered.
    fn keep_carriable(&mut self, changed: &mut Changed) {
        let merged = self.merge.table();
        let omitted = self.publisher.omitted(merged);
        let differs = omitted.symmetric_difference(&self.omitted);
        changed.names.extend(differs.map(|omitted| omitted.hostname.clone()));
        self.table = without(merged, &omitted);
        self.omitted = omitted;
    }

    /// The same when the forms of gateways have changed and the table has not.
    pub(super) fn keep_carriable_by_all(&mut self, now: Instant) {
        let mut changed = Changed::default();
        self.keep_carriable(&mut changed);
        if !changed.names.is_empty() {
            self.unpublished.extend(changed.names);
            self.due.get_or_insert(now);
            self.derive_diagnostics();
            self.report();
        }
    }

    fn derive_diagnostics(&mut self) {
        let of_views = self.views.values().flat_map(RemoteView::diagnostics);
        let mut diagnostics: Vec<_> = of_views.chain(self.merge.conflicts()).cloned().collect();
        diagnostics.extend(describe_omitted(self.merge.table(), &self.omitted));
        self.derived_diagnostics = diagnostics;
    }

    fn derive_view(&mut self, name: RemoteName, touched: Touched, changed: &mut Changed) {
        let Some(remote) = self.inventory.remotes().get(&name) else {
            let old = self.views.remove(&name).unwrap_or_default();
            changed.diagnostics |= old.diagnostics().next().is_some();
            changed.names.extend(old.exports.into_keys());
            return;
        };
        let view = self.views.entry(name.clone()).or_default();
        if touched.names {
            let new = RemoteView::derive(&name, remote, &self.policy);
            let old = std::mem::replace(view, new);
            changed.names.extend(view.changed_names(&old).into_iter().cloned());
            changed.diagnostics |= !old.diagnostics().eq(view.diagnostics());
            if old.backend != view.backend {
                changed.endpoints.insert(name);
            }
            return;
        }
        let (backend, diagnostics) = (view.backend.clone(), view.node_diagnostics.clone());
        view.derive_nodes(&name, remote, &self.policy);
        // The exports' own diagnostics depend on whether there is any address at all.
        changed.diagnostics |= diagnostics != view.node_diagnostics
            || backend.endpoints.is_empty() != view.backend.endpoints.is_empty();
        if backend != view.backend {
            changed.endpoints.insert(name);
        }
    }

    /// Puts together what people should know, and logs what is new: once, not at every derivation.
    pub(super) fn report(&mut self) {
        const LOGGED_AT_ONCE_MAX: usize = 20;
        let mut diagnostics = self.derived_diagnostics.clone();
        diagnostics.extend(self.describe_refusals());
        diagnostics.sort();
        let is_new = |diagnostic: &&Diagnostic| self.diagnostics.binary_search(diagnostic).is_err();
        let new = diagnostics.iter().filter(is_new);
        for diagnostic in new.clone().take(LOGGED_AT_ONCE_MAX) {
            warn!(
                remote = %diagnostic.remote, object = %diagnostic.object, reason = ?diagnostic.reason,
                "{}", diagnostic.message
            );
        }
        let unlogged = new.count().saturating_sub(LOGGED_AT_ONCE_MAX);
        if unlogged > 0 {
            warn!(unlogged, "more diagnostics: see /debug/table");
        }
        self.connections.metrics.set_diagnostics(&diagnostics);
        self.diagnostics = diagnostics;
    }
}
