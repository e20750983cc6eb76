//! The gRPC services: which path speaks which variant for which type, and the HTTP around a stream.
//!
//! The services are written by hand instead of generated, as responses are chunks of bytes that exist already; a
//! generated service would encode every message anew for every client.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use tonic::{Status, body::Body, codegen::Service, server::NamedService, service::Routes};

use crate::{
    connection::{Connection, Shared},
    requests::Requests,
    response::Variant,
    type_url::TypeUrl,
};

/// A discovery service of Envoy's API.
trait Discovery: Send + Sync + 'static {
    /// Full name of the service.
    const NAME: &'static str;
    /// The method that speaks SotW; empty if there is none.
    const SOTW: &'static str;
    /// The method that speaks delta.
    const DELTA: &'static str;
    /// The type that it serves; `None`: all.
    const TYPE: Option<TypeUrl>;
}

macro_rules! discovery {
    ($kind:ident, $name:literal, $sotw:literal, $delta:literal, $type:expr) => {
        struct $kind;

        impl Discovery for $kind {
            const NAME: &'static str = $name;
            const SOTW: &'static str = $sotw;
            const DELTA: &'static str = $delta;
            const TYPE: Option<TypeUrl> = $type;
        }
    };
}

discovery!(
    Ads,
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "StreamAggregatedResources",
    "DeltaAggregatedResources",
    None
);
discovery!(
    Cds,
    "envoy.service.cluster.v3.ClusterDiscoveryService",
    "StreamClusters",
    "DeltaClusters",
    Some(TypeUrl::Cluster)
);
discovery!(
    Eds,
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    "StreamEndpoints",
    "DeltaEndpoints",
    Some(TypeUrl::Endpoint)
);
discovery!(
    Lds,
    "envoy.service.listener.v3.ListenerDiscoveryService",
    "StreamListeners",
    "DeltaListeners",
    Some(TypeUrl::Listener)
);
discovery!(
    Rds,
    "envoy.service.route.v3.RouteDiscoveryService",
    "StreamRoutes",
    "DeltaRoutes",
    Some(TypeUrl::RouteConfiguration)
);
discovery!(
    Srds,
    "envoy.service.route.v3.ScopedRoutesDiscoveryService",
    "StreamScopedRoutes",
    "DeltaScopedRoutes",
    Some(TypeUrl::ScopedRouteConfiguration)
);
discovery!(
    Vhds,
    "envoy.service.route.v3.VirtualHostDiscoveryService",
    "",
    "DeltaVirtualHosts",
    Some(TypeUrl::VirtualHost)
);
discovery!(
    Sds,
    "envoy.service.secret.v3.SecretDiscoveryService",
    "StreamSecrets",
    "DeltaSecrets",
    Some(TypeUrl::Secret)
);
discovery!(
    Rtds,
    "envoy.service.runtime.v3.RuntimeDiscoveryService",
    "StreamRuntime",
    "DeltaRuntime",
    Some(TypeUrl::Runtime)
);
discovery!(
    Ecds,
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
    "StreamExtensionConfigs",
    "DeltaExtensionConfigs",
    Some(TypeUrl::ExtensionConfig)
);

/// All discovery services over one server's state.
pub(crate) fn routes(shared: &Shared) -> Routes {
    Routes::default()
        .add_service(DiscoveryService::<Ads>::new(shared))
        .add_service(DiscoveryService::<Cds>::new(shared))
        .add_service(DiscoveryService::<Eds>::new(shared))
        .add_service(DiscoveryService::<Lds>::new(shared))
        .add_service(DiscoveryService::<Rds>::new(shared))
        .add_service(DiscoveryService::<Srds>::new(shared))
        .add_service(DiscoveryService::<Vhds>::new(shared))
        .add_service(DiscoveryService::<Sds>::new(shared))
        .add_service(DiscoveryService::<Rtds>::new(shared))
        .add_service(DiscoveryService::<Ecds>::new(shared))
}

struct DiscoveryService<D> {
    shared: Shared,
    discovery: PhantomData<D>,
}

impl<D> DiscoveryService<D> {
    fn new(shared: &Shared) -> Self {
        Self { shared: shared.clone(), discovery: PhantomData }
    }
}

impl<D> Clone for DiscoveryService<D> {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}

impl<D: Discovery> NamedService for DiscoveryService<D> {
    const NAME: &'static str = D::NAME;
}

impl<D: Discovery> DiscoveryService<D> {
    fn variant(path: &str) -> Option<Variant> {
        let method = path.rsplit('/').next().filter(|method| !method.is_empty())?;
        match method {
            _ if method == D::DELTA => Some(Variant::Delta),
            _ if method == D::SOTW => Some(Variant::Sotw),
            _ => None,
        }
    }

    fn open(&self, request: http::Request<Body>) -> Result<Body, Status> {
        let variant = Self::variant(request.uri().path())
            .ok_or_else(|| Status::unimplemented("only the streaming methods are served"))?;
        let compressed = |encoding: &HeaderValue| encoding != "identity";
        if request.headers().get("grpc-encoding").is_some_and(compressed) {
            return Err(Status::unimplemented("requests must not be compressed"));
        }
        let (parts, body) = request.into_parts();
        let requests = Requests::new(body, variant, self.shared.config().request_bytes_max);
        let connection = Connection::open(&self.shared, variant, D::TYPE, requests, parts.extensions)?;
        let frames = stream::unfold(Box::new(connection), |mut connection| async move {
            Some((connection.next_frame().await?, connection))
        });
        Ok(Body::new(FrameBody { frames: Box::pin(frames) }))
    }
}

impl<D: Discovery> Service<http::Request<Body>> for DiscoveryService<D> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = match self.open(request) {
            Ok(body) => {
                let mut response = http::Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                response
            }
            Err(status) => status.into_http(),
        };
        ready(Ok(response))
    }
}

/// A stream of frames as a response body.
struct FrameBody<S> {
    frames: Pin<Box<S>>,
}

impl<S: Stream<Item = Frame<Bytes>>> http_body::Body for FrameBody<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.as_mut().poll_next(cx).map(|frame| frame.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_6_methods_select_the_variant() {
        let path = |method: &str| format!("/{}/{method}", Cds::NAME);
        assert_eq!(DiscoveryService::<Cds>::variant(&path("DeltaClusters")), Some(Variant::Delta));
        assert_eq!(DiscoveryService::<Cds>::variant(&path("StreamClusters")), Some(Variant::Sotw));
        assert_eq!(DiscoveryService::<Cds>::variant(&path("FetchClusters")), None);
        assert_eq!(DiscoveryService::<Vhds>::variant(&path("")), None);
    }
}
