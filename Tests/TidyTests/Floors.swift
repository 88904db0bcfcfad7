/// The floors of the house: what each target may import of the project. Imports only ever point down.
enum Floors {
    /// What the C modules may include.
    static let core: [String: Set<String>] = [
        "CHeraldBase": [],
        "CHeraldWire": ["CHeraldBase"],
        "CHeraldLog": ["CHeraldBase", "CHeraldWire"],
        "CHeraldNet": ["CHeraldBase"],
        "CHeraldHub": ["CHeraldBase", "CHeraldWire", "CHeraldLog", "CHeraldNet"],
    ]

    /// What the Swift targets may import of the project.
    static let swift: [String: Set<String>] = [
        "HeraldCore": Set(core.keys),
        "Herald": ["HeraldCore"],
        "HeraldClient": [],
        "HeraldBench": ["HeraldClient"],
        "herald": ["Herald", "HeraldBench", "HeraldClient"],
    ]

    /// What the Swift targets may import of other packages; all of them may import what comes with Swift.
    static let packages: [String: Set<String>] = [
        "HeraldCore": [],
        "Herald": [
            "AsyncHTTPClient", "Configuration", "Crypto", "JWTKit", "Logging", "NIOCore",
            "ServiceLifecycle", "UnixSignals", "X509", "Yams",
        ],
        "HeraldClient": ["AsyncHTTPClient", "NIOCore", "NIOPosix", "NIOSSL", "NIOHTTP1", "NIOWebSocket"],
        "HeraldBench": ["NIOCore", "NIOPosix", "NIOSSL", "NIOHTTP1", "NIOWebSocket"],
        "herald": ["ArgumentParser", "Logging"],
    ]

    /// What comes with Swift.
    static let standard: Set<String> = [
        "Swift", "Synchronization", "Foundation", "FoundationEssentials", "Dispatch", "Glibc", "Musl", "Darwin",
    ]

    /// System headers that only some C modules may include: what is not listed is the C library's, for all.
    static let system: [String: Set<String>] = [
        "uv.h": ["CLibuv", "CHeraldNet"],
        "liburing.h": ["CLiburing", "CHeraldNet"],
        "nghttp2/nghttp2.h": ["CNghttp2", "CHeraldHub"],
        "openssl/core_names.h": ["CHeraldNet"],
        "openssl/err.h": ["COpenSSL", "CHeraldNet"],
        "openssl/ssl.h": ["COpenSSL", "CHeraldNet"],
        "openssl/x509v3.h": ["COpenSSL", "CHeraldNet"],
        "zlib.h": ["CZlib", "CHeraldWire"],
        "sys/socket.h": ["CHeraldNet"],
        "netinet/tcp.h": ["CHeraldNet"],
        "arpa/inet.h": ["CHeraldNet"],
        "c_nio_llhttp.h": ["CHeraldWire"],
        "CNIOSHA1.h": ["CHeraldWire"],
    ]
}
