/** The constants of the netlink package as plain numbers, because the kernel's messages hold numbers, not enums. */
import * as netlink from 'netlink/dist/constants';
import * as rtnetlink from 'netlink/dist/rt/gen_structs';

type Numbers<T> = Readonly<Record<keyof T, number>>;

/** RTM_* */
export const MessageType: Numbers<typeof rtnetlink.MessageType> = rtnetlink.MessageType;
/** NLM_F_REPLACE, EXCL, CREATE: of a request that makes something. */
export const FlagsNew: Numbers<typeof netlink.FlagsNew> = netlink.FlagsNew;
/** NETLINK_* */
export const Protocol: Numbers<typeof netlink.Protocol> = netlink.Protocol;
/** RTNLGRP_* */
export const MulticastGroups: Numbers<typeof rtnetlink.MulticastGroups> = rtnetlink.MulticastGroups;
/** RTN_* */
export const RouteType: Numbers<typeof rtnetlink.RouteType> = rtnetlink.RouteType;
/** RT_SCOPE_* */
export const RouteScope: Numbers<typeof rtnetlink.RouteScope> = rtnetlink.RouteScope;
/** RTPROT_* */
export const RouteProtocol: Numbers<typeof rtnetlink.RouteProtocol> = rtnetlink.RouteProtocol;
/** RT_TABLE_* */
export const RoutingTable: Numbers<typeof rtnetlink.RoutingTableClass> = rtnetlink.RoutingTableClass;
