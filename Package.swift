// swift-tools-version: 6.2

import PackageDescription

// A folder is a target, a target is a floor, and imports only point down (ARCHITECTURE.md; checked by TidyTests).
// Every dependency is pinned exactly: NIOHTTP1 and NIOWebSocket lend C headers that are not their public interface.

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

/// Tests of the core work on its pointers throughout; to mark each of them unsafe would say nothing.
let testSettings: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let cSettings: [CSetting] = [
    .enableWarning("all"),
    .enableWarning("extra"),
    .enableWarning("conversion"),
    .treatAllWarnings(as: .error),
]

/// A floor written in C.
func core(_ name: String, on dependencies: [Target.Dependency]) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: "CModules/\(name)",
        exclude: ["README.md"],
        publicHeadersPath: "include",
        cSettings: cSettings)
}

/// The tests of one target.
func tests(_ name: String, on dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: testSettings)
}

let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "herald",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "herald", targets: ["herald"]),
        .library(name: "HeraldClient", targets: ["HeraldClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-configuration", exact: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/vapor/jwt-kit", exact: "5.7.1"),
    ],
    targets: [
        // Floor 0: system libraries.
        .systemLibrary(
            name: "CLibuv", path: "CModules/CLibuv", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),

        .systemLibrary(
            name: "CLiburing", path: "CModules/CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),

        .systemLibrary(
            name: "COpenSSL", path: "CModules/COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CNghttp2", path: "CModules/CNghttp2", pkgConfig: "libnghttp2",
            providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CZlib", path: "CModules/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Floors 1 to 4: the core.
        core("CHeraldBase", on: []),
        core("CHeraldWire", on: ["CHeraldBase", "CZlib", nioHTTP1, nioWebSocket]),
        core("CHeraldLog", on: ["CHeraldBase", "CHeraldWire"]),
        core("CHeraldNet", on: ["CHeraldBase", "CLibuv", "CLiburing", "COpenSSL"]),
        core("CHeraldHub", on: ["CHeraldBase", "CHeraldWire", "CHeraldLog", "CHeraldNet", "CNghttp2"]),

        // Floor 5: the core as a Swift module. Lifetimes let views of C's bytes be values that cannot outlive them.
        .target(
            name: "HeraldCore",
            dependencies: ["CHeraldBase", "CHeraldWire", "CHeraldLog", "CHeraldNet", "CHeraldHub"],
            exclude: ["README.md"],
            swiftSettings: swiftSettings + [.enableExperimentalFeature("Lifetimes")]),

        // Floor 6: the service, and beside it the client library, which knows nothing of it.
        .target(
            name: "Herald",
            dependencies: [
                "HeraldCore",
                .product(name: "Configuration", package: "swift-configuration"),
                asyncHTTPClient,
                nioCore,
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "X509", package: "swift-certificates"),
                logging,
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            exclude: ["README.md"],
            resources: [
                .embedInCode("Resources/console.html"),
                .embedInCode("Resources/console.js"),
                .embedInCode("Resources/console.css"),
                .embedInCode("Resources/console/cost.js"),
                .embedInCode("Resources/console/dom.js"),
                .embedInCode("Resources/console/draw.js"),
                .embedInCode("Resources/console/lab.js"),
                .embedInCode("Resources/console/limit.js"),
                .embedInCode("Resources/console/measure.js"),
                .embedInCode("Resources/console/overview.js"),
                .embedInCode("Resources/console/publish.js"),
                .embedInCode("Resources/console/publisher.js"),
                .embedInCode("Resources/console/server.js"),
                .embedInCode("Resources/console/tail.js"),
                .embedInCode("Resources/console/transports.js"),
                .embedInCode("Resources/herald.d.ts"),
                .embedInCode("Resources/herald.js"),
                .embedInCode("Resources/openapi.txt"),
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "HeraldClient",
            dependencies: [asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL, nioWebSocket],
            exclude: ["README.md"],
            swiftSettings: swiftSettings),

        // Floor 6 as well, a step above the client library: what `herald bench` measures with.
        .target(
            name: "HeraldBench",
            dependencies: ["HeraldClient", nioCore, nioPosix, nioHTTP1, nioSSL, nioWebSocket],
            exclude: ["README.md"],
            swiftSettings: swiftSettings),

        // Floor 7: the command.
        .executableTarget(
            name: "herald",
            dependencies: ["Herald", "HeraldBench", "HeraldClient", argumentParser, logging],
            exclude: ["README.md"],
            swiftSettings: swiftSettings),

        tests("CHeraldBaseTests", on: ["CHeraldBase"]),
        tests("CHeraldWireTests", on: ["CHeraldBase", "CHeraldWire"]),
        tests("CHeraldLogTests", on: ["CHeraldBase", "CHeraldWire", "CHeraldLog"]),
        tests("CHeraldNetTests", on: ["CHeraldBase", "CHeraldNet"]),
        tests("CHeraldHubTests", on: ["CHeraldBase", "CHeraldWire", "CHeraldLog", "CHeraldNet", "CHeraldHub"]),
        tests("HeraldCoreTests", on: ["HeraldCore"]),
        tests(
            "HeraldTests",
            on: [
                "Herald", "HeraldClient", "HeraldCore", "herald", logging, nioCore, nioPosix,
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"), .product(name: "JWTKit", package: "jwt-kit"),
            ]),
        tests("HeraldClientTests", on: ["HeraldClient", nioCore, nioPosix, nioHTTP1, nioWebSocket]),
        tests(
            "HeraldBenchTests",
            on: ["HeraldBench", "HeraldClient", "herald", argumentParser, nioCore, nioHTTP1, nioPosix]),
        tests("TidyTests", on: []),
    ],
    cLanguageStandard: .gnu17
)
