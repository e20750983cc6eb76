//! Requests as octets.

/// IPv4 address.
pub const A: u16 = 1;
/// IPv6 address.
pub const AAAA: u16 = 28;

/// A request of class IN with id 0; with an OPT record of this payload size if given. Labels are taken as they are.
pub fn request(name: &str, record_type: u16, edns: Option<u16>) -> Vec<u8> {
    let mut octets = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets.extend([record_type.to_be_bytes(), [0, 1]].concat());
    if let Some(payload) = edns {
        octets.extend([0, 0, 41]);
        octets.extend(payload.to_be_bytes());
        octets.extend([0; 6]);
    }
    octets
}
